//! Input: a body of GitHub. The response is JSON and has as many gists as its count tells.
#![no_main]

use gists::{
    github::{
        gist::{self, MAX_GISTS},
        link::Relations,
    },
    request::query::GistQuery,
};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let asked = GistQuery::default();
    let Ok(listing) = gist::transform(bytes, asked.page, asked.per_page, Relations::default()) else {
        return Corpus::Keep;
    };
    let mut body = listing.body;
    gist::complete(&mut body, true, 60);
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("the response is JSON");
    let data = answer["data"].as_array().expect("the response has a list");
    assert_eq!(data.len(), usize::from(listing.count));
    assert!(data.len() <= MAX_GISTS);
    Corpus::Keep
});
