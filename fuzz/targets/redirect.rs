//! Input: a `Location` of GitHub. The component follows it only when other parsers read the same origin.
#![no_main]

use gists::{github::redirect, ports::FetchResponse, settings::Origin};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|text: &str| {
    let response = FetchResponse {
        status: 301,
        headers: vec![("location".to_owned(), text.as_bytes().to_vec())],
        body: Vec::new(),
    };
    let origin = Origin { https: true, authority: "api.github.com".to_owned() };
    let asked = "/users/octocat/gists?page=2";
    let Some(target) = redirect::target(&origin, asked, &response) else { return };
    assert!(target.starts_with('/'), "{target:?}");
    assert!(target.bytes().all(|b| b.is_ascii_graphic()), "{target:?}");
    // The request goes to the same server, and a browser would send it there, too.
    let sent = Url::parse(&format!("https://api.github.com{target}")).expect("the request's target is a URL");
    let base = Url::parse(&format!("https://api.github.com{asked}")).unwrap();
    let read = base.join(text).unwrap_or_else(|error| panic!("{text:?} is not a reference: {error}"));
    for url in [&sent, &read] {
        assert_eq!(url.origin(), base.origin(), "{text:?} → {target:?}");
        assert_eq!((url.username(), url.password()), ("", None), "{text:?} → {target:?}");
    }
    assert_eq!((sent.path(), sent.query()), (read.path(), read.query()), "{text:?} → {target:?}");
});
