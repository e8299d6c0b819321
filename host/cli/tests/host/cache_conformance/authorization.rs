//! Responses to requests with credentials (RFC 9111, section 3.5), and those that set cookies (section 7.3).

use super::{
    Case, run,
    step::{cached, origin},
};

const CASES: &[Case] = &[
    (
        "a response to credentials is not stored",
        &[
            origin("cache-control: max-age=60").with("authorization: Bearer one"),
            origin("cache-control: max-age=60").with("authorization: Bearer one"),
            origin("cache-control: max-age=60"),
        ],
    ),
    (
        "Expires does not store it",
        &[origin("expires: Mon, 02 Jan 2090 08:00:00 GMT").with("authorization: Bearer one"), origin("")],
    ),
    (
        "public does",
        &[origin("cache-control: max-age=60, public").with("authorization: Bearer one"), cached()],
    ),
    ("s-maxage does", &[origin("cache-control: s-maxage=60").with("authorization: Bearer one"), cached()]),
    (
        "must-revalidate does",
        &[origin("cache-control: max-age=60, must-revalidate").with("authorization: Bearer one"), cached()],
    ),
    (
        "the credentials reach the component",
        &[origin("").with("authorization: Bearer one").asks("authorization: Bearer one")],
    ),
    (
        "a response that anybody may have answers credentials too",
        &[origin("cache-control: max-age=60"), cached().with("authorization: Bearer one")],
    ),
];

#[tokio::test]
async fn a_response_to_credentials_is_stored_only_if_it_says_so() {
    run(CASES).await;
}
