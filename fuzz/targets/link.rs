//! Input: a query, and in a second line GitHub's `Link`. The query can neither end the response's `Link` nor add a relation.
#![no_main]

use gists::{
    github::link::Relations,
    request::{
        query::GistQuery,
        route::{Endpoint, Method, route},
    },
    response::link::render,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (query, header) = text.split_once('\n').unwrap_or(("", text));
    let relations = Relations::parse(header);
    let routed = route(Method::Get, "/octocat");
    let endpoint: Endpoint = routed.endpoint;
    if let Some(ours) = render(endpoint, "octocat", query, GistQuery::default(), relations) {
        assert!(ours.bytes().all(|b| (0x20..0x7f).contains(&b)), "{ours:?}");
        assert_eq!(Relations::parse(&ours), Relations { next: relations.next, prev: false }, "{ours:?}");
        assert_eq!(ours.matches("rel=\"next\"").count(), 1);
    }
});
