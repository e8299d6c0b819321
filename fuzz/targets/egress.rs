//! Input: lines with entries of an allow-list, and a last line with a URL. The policy allows a URL only when it reads the same target as other
//! parsers do.
#![no_main]

use fuzz::oracle;
use libfuzzer_sys::{Corpus, fuzz_target};
use url::{Host, Url};
use wasi_http_host_egress::{AllowList, Policy};

fuzz_target!(|text: &str| -> Corpus {
    let (entries, written) = text.rsplit_once('\n').unwrap_or(("", text));
    let entries: Vec<&str> = entries.lines().collect();
    let list = match AllowList::parse(&entries) {
        Ok(list) => list,
        Err(error) => {
            assert!(entries.contains(&&*error.entry) || error.entry.contains("…@"));
            AllowList::default()
        }
    };
    let Ok(uri) = written.parse::<http::Uri>() else { return Corpus::Reject };
    let (listed, open) =
        (Policy::new(list, Vec::new()), Policy::new(AllowList::parse(&["*://*:*"]).unwrap(), Vec::new()));
    if let Ok(allowed) = open.decide(&uri) {
        let canonical = same_for_browsers(written, &allowed.target.to_string());
        let address = match canonical.host().unwrap() {
            Host::Ipv4(v4) => Some(v4.into()),
            Host::Ipv6(v6) => Some(v6.into()),
            Host::Domain(_) => None,
        };
        assert!(!address.is_some_and(oracle::is_inside), "{written} leads to {address:?}");
    }
    if let Ok(allowed) = listed.decide(&uri) {
        same_for_browsers(written, &allowed.target.to_string());
        let entry = listed.entries().nth(allowed.entry).unwrap();
        let scheme = uri.scheme_str().unwrap();
        let entry_scheme = entry.split("://").next().unwrap();
        assert!(entry_scheme == "*" || entry_scheme.eq_ignore_ascii_case(scheme), "{entry} and {written}");
    }
    Corpus::Keep
});

/// Asserts that a browser reads the same target in the written URL and in the one that the host sends. Returns the sent one.
fn same_for_browsers(written: &str, target: &str) -> Url {
    let sent: http::Uri = format!("{target}/").parse().unwrap();
    let again =
        Policy::new(AllowList::parse(&["*://*:*", "*://0.0.0.0/0:*", "*://[::]/0:*"]).unwrap(), Vec::new());
    assert_eq!(again.decide(&sent).unwrap().target.to_string(), target);
    let sent = Url::parse(&format!("{target}/")).unwrap();
    let read = Url::parse(written).unwrap_or_else(|error| panic!("{written}: {error}, but we send {target}"));
    let host = |url: &Url| url.host_str().unwrap().trim_end_matches('.').to_owned();
    assert_eq!(
        (read.scheme(), host(&read), read.port_or_known_default()),
        (sent.scheme(), host(&sent), sent.port_or_known_default())
    );
    assert_eq!((read.username(), read.password()), ("", None));
    sent
}
