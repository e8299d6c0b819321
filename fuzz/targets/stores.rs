//! A store's address: one that is read has one form, and one that is not is refused without what may be a password.
#![no_main]

use fuzz::redis::RedisAddress;
use libfuzzer_sys::fuzz_target;

/// No scheme may have a `_`, and a scheme is all that an error may tell.
const SECRET: &str = "s3cr3t_c4n4ry";

fuzz_target!(|text: &str| {
    let (before, after) = text.split_once('\n').unwrap_or((text, ""));
    for text in [before.to_owned(), format!("{before}{SECRET}{after}")] {
        match text.parse::<RedisAddress>() {
            Ok(address) => {
                let again: RedisAddress = address.to_string().parse().expect("its own form is read");
                let same = RedisAddress { user: None, ..address.clone() };
                assert_eq!(again, same, "{text:?}");
            }
            Err(error) => assert!(!error.to_string().contains(SECRET), "{text:?}: {error}"),
        }
    }
});
