//! Headers that concern one connection. The host sets them, and guests neither send nor see them.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;

/// Whether `name` is in [`DEFAULT_FORBIDDEN_HEADERS`]. The host calls this for every header of every request and
/// response in both directions. For nearly all names, comparing the length suffices.
#[must_use]
pub fn is_forbidden(name: &HeaderName) -> bool {
    matches!(name.as_str().len(), 4 | 7 | 10 | 14 | 16..=19) && DEFAULT_FORBIDDEN_HEADERS.contains(name)
}

/// Removes the headers that `Connection` names (RFC 9110, 7.6.1). There may be several lines.
pub(super) fn remove_named_by_connection(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    let named: Vec<HeaderName> = lines
        .flat_map(|line| line.split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_is_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "a, close, ,x y"), ("connection", "B"), ("a", "1"), ("b", "2"), ("c", "3")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_named_by_connection(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["connection", "c"]);
    }

    #[test]
    fn the_quick_filter_forbids_what_the_list_does() {
        for name in &DEFAULT_FORBIDDEN_HEADERS {
            assert!(is_forbidden(name), "{name}");
        }
        for name in ["accept", "content-type", "date", "trailer", "x-forwarded-for", "user-agent"] {
            assert!(!is_forbidden(&HeaderName::from_static(name)), "{name}");
        }
    }
}
