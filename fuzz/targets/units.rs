//! Input: a duration or a size. A valid one is printed so that it reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasi_http_host_core::{ByteSize, Period};

fuzz_target!(|text: &str| {
    if let Ok(period) = text.parse::<Period>() {
        assert_eq!(period.to_string().parse(), Ok(period));
        assert!(period.get().as_secs() <= 366 * 24 * 3600);
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse(), Ok(size));
    }
});
