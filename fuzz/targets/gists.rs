//! GitHub's body: our answer is JSON, whatever comes, and has as many gists as it says.
#![no_main]

use gists::{
    github::gist::{self, MAX_GISTS},
    request::query::GistQuery,
    response::link::Relations,
};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let asked = GistQuery::default();
    let Ok(listing) = gist::transform(bytes, asked.page, asked.per_page, Relations::default()) else {
        return Corpus::Keep;
    };
    let mut body = listing.body;
    gist::complete(&mut body, true, 60);
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("our answer is JSON");
    let data = answer["data"].as_array().expect("with a list");
    assert_eq!(data.len(), usize::from(listing.count));
    assert!(data.len() <= MAX_GISTS);
    Corpus::Keep
});
