//! Input: a username, and in a second line a query. A valid username can be a segment of a path; the body of an error is JSON.
#![no_main]

use gists::{
    request::{number, query::validate},
    response::{accept::error_form, error::Error, problem},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (name, query) = text.split_once('\n').unwrap_or((text, ""));
    let _ = number::integer(query);
    let _ = number::boolean(query);
    match validate(name, query) {
        Ok((username, asked)) => {
            assert_eq!(username.as_asked(), name);
            assert!(name.chars().count() <= 39);
            let encoded = username.encoded();
            assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%".contains(&b)), "{encoded}");
            assert!((1..=100).contains(&asked.per_page.get()) && asked.page.get() >= 1);
        }
        Err(rejection) => {
            let error = Error::from(rejection);
            for accept in [None, Some("application/problem+json"), Some(query)] {
                let body = problem::body(&error, error_form(accept));
                serde_json::from_slice::<serde_json::Value>(&body).expect("an error is JSON");
            }
        }
    }
});
