//! Input: a method, and in a second line a request target. A redirect stays on the server and cannot end its header.
#![no_main]

use gists::{
    request::{
        rejection::Rejection,
        route::{Method, route},
    },
    response::error::Error,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (method, target) = text.split_once('\n').unwrap_or(("GET", text));
    let routed = route(Method::new(method), target);
    assert!(target.ends_with(routed.query));
    if let Err(rejection) = routed.route {
        assert!((300..600).contains(&Error::from(rejection.clone()).appearance().status));
        if let Rejection::Redirect { location } = &rejection {
            // It leads nowhere else and ends no header.
            assert!(location.bytes().all(|b| b.is_ascii_graphic()), "{location:?}");
            assert!(
                location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\"),
                "{location:?}"
            );
        }
    }
});
