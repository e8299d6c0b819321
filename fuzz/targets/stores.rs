//! Input: the address of a store, in up to two lines. A valid address is printed so that it reads as the same. The error for an invalid one
//! does not contain what may be a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasi_http_host_keyvalue::RedisAddress;

/// Cannot be a scheme, because of the `_`. An error may contain nothing but the scheme.
const SECRET: &str = "s3cr3t_c4n4ry";

fuzz_target!(|text: &str| {
    let (before, after) = text.split_once('\n').unwrap_or((text, ""));
    for text in [before.to_owned(), format!("{before}{SECRET}{after}")] {
        match text.parse::<RedisAddress>() {
            Ok(address) => {
                let again: RedisAddress = address.to_string().parse().expect("the printed address is valid");
                let same = RedisAddress { user: None, ..address.clone() };
                assert_eq!(again, same, "{text:?}");
            }
            Err(error) => assert!(!error.to_string().contains(SECRET), "{text:?}: {error}"),
        }
    }
});
