//! Input: the record of an installation's token, as it is before encryption. A decoded record, encoded again, decodes to the same, and its
//! state is known at each time.
#![no_main]

use std::time::Duration;

use gists::upstream::installation::{TokenRecord, TokenState};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(record) = TokenRecord::decode(bytes) else { return };
    assert_eq!(TokenRecord::decode(&record.encode()).as_ref(), Some(&record));
    for now in [0, 1_800_000_000_000, u64::MAX] {
        let now = Duration::from_millis(now);
        if let TokenState::Current(_) | TokenState::Due(_) = record.state(now) {
            assert!(record.token.as_ref().is_some_and(|token| now < token.expires_at), "{now:?}");
        }
    }
});
