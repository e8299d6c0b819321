//! Headers that concern one connection. The host sets them, and guests neither send nor see them.

use http::HeaderName;
use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;

/// Whether `name` is in [`DEFAULT_FORBIDDEN_HEADERS`]. The host calls this for every header of every request and
/// response in both directions. For nearly all names, comparing the length suffices.
#[must_use]
pub fn is_forbidden(name: &HeaderName) -> bool {
    matches!(name.as_str().len(), 4 | 7 | 10 | 14 | 16..=19) && DEFAULT_FORBIDDEN_HEADERS.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
