//! Input: the fields of a response, of the request that it was made for, and of another request, with an empty line between
//! them. The response answers the other request only if each field that `Vary` names is the same in both.
#![no_main]

use fuzz::fields::{fields, naive_members};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use wasi_http_host_cache::vary::{SET_BY_HOST, Selection};

/// The most fields that `Vary` may name.
const MAX_FIELDS: usize = 16;

/// The members of all lines of a field, with what the field's syntax leaves free in one form. `None`: there is no such field.
fn meaning(name: &HeaderName, request: &HeaderMap) -> Option<Vec<Vec<u8>>> {
    if !request.contains_key(name) {
        return None;
    }
    let lines: Vec<_> = request.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if *name == header::COOKIE {
        return Some(vec![lines.join(&b"; "[..])]);
    }
    let joined = lines.join(&b',');
    let members = joined.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    Some(match *name {
        header::ACCEPT_LANGUAGE => members
            .map(|member| {
                let parts: Vec<_> = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).collect();
                parts.join(&b';').to_ascii_lowercase()
            })
            .collect(),
        _ => members.map(<[u8]>::to_vec).collect(),
    })
}

fuzz_target!(|input: &[u8]| {
    let (response, rest) = fields(input);
    let (request, rest) = fields(rest);
    let (other, _) = fields(rest);
    let lines = || response.get_all(header::VARY).iter();
    let mut named: Vec<_> =
        lines().flat_map(|line| naive_members(line.as_bytes())).filter(|name| !name.is_empty()).collect();
    named.sort_unstable();
    named.dedup();
    let selection = Selection::new(&response, &request);
    let Some(selection) = selection else {
        // Nothing is stored, which is always right.
        return;
    };
    // Each name is one of a field that only clients write, and there are few of them.
    let names: Vec<_> =
        named.iter().map(|name| HeaderName::from_bytes(name).expect("a field's name")).collect();
    assert!(
        names.len() <= MAX_FIELDS && names.iter().all(|name| *name != "*" && !SET_BY_HOST.contains(name))
    );
    assert!(selection.matches(&request), "a response answers its own request");

    let mut selecting = names;
    if response.contains_key(header::CONTENT_ENCODING) {
        selecting.push(header::ACCEPT_ENCODING);
    }
    let same = |name: &HeaderName| meaning(name, &request) == meaning(name, &other);
    if selection.matches(&other) {
        assert!(selecting.iter().all(same), "{selection:?} matches {other:?}");
    }
    // What differs in no selecting field matches, whatever else it has.
    let is_identical = |name: &HeaderName| request.get_all(name).iter().eq(other.get_all(name).iter());
    if selecting.iter().all(is_identical) {
        assert!(selection.matches(&other), "{selection:?} does not match {other:?}");
    }
    // Another value of any selecting field does not match.
    for name in selecting {
        let mut changed = request.clone();
        changed.append(name, HeaderValue::from_static("another"));
        assert!(!selection.matches(&changed), "{selection:?} matches {changed:?}");
    }
});
