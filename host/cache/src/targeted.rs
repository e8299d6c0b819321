//! Which directives apply to this cache: those of `CDN-Cache-Control`, or those of `Cache-Control` (RFC 9213).

use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::directives::{Argument, Directives};

/// The targeted field of caches between an origin server and its clients.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives for this cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applicable {
    /// The directives.
    pub directives: Directives,
    /// Whether they are those of the targeted field. Then `Cache-Control` and `Expires` do not count.
    pub is_targeted: bool,
}

impl Applicable {
    /// The directives of a response with these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        match targeted(headers) {
            Some(directives) => Self { directives, is_targeted: true },
            None => {
                let directives = Directives::parse(headers.get_all(header::CACHE_CONTROL));
                Self { directives, is_targeted: false }
            }
        }
    }
}

/// The directives of the targeted field. `None`: there is no such field, or it is empty or not valid, and must be ignored
/// (RFC 9213, 2.1).
fn targeted(headers: &HeaderMap) -> Option<Directives> {
    let mut lines = headers.get_all(CDN_CACHE_CONTROL).iter();
    let mut text = lines.next()?.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    let dictionary: Dictionary = Parser::new(&text).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = Directives::default();
    for (name, entry) in &dictionary {
        let number;
        let argument = match entry {
            ListEntry::Item(item) => match &item.bare_item {
                BareItem::Boolean(true) => Argument::Missing,
                // The directive says that it does not apply.
                BareItem::Boolean(false) => continue,
                BareItem::Integer(seconds) => {
                    number = i64::from(*seconds).to_string();
                    Argument::Text(number.as_bytes())
                }
                BareItem::String(text) if names_fields(name.as_str()) => {
                    Argument::Text(text.as_str().as_bytes())
                }
                _ if restricts(name.as_str()) => Argument::Invalid,
                // A value of another type than the directive's: the directive is ignored.
                _ => continue,
            },
            ListEntry::InnerList(_) if restricts(name.as_str()) => Argument::Invalid,
            ListEntry::InnerList(_) => continue,
        };
        directives.add(name.as_str().as_bytes(), argument);
    }
    Some(directives)
}

/// Whether the directive's argument is a list of field names.
fn names_fields(name: &str) -> bool {
    matches!(name, "no-cache" | "private")
}

/// Whether the directive counts in spite of a value of another type. Ignored, it would let the cache do more than with a value
/// that is not valid.
fn restricts(name: &str) -> bool {
    names_fields(name) || matches!(name, "no-store" | "max-age" | "s-maxage")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn applicable(lines: &[(&'static str, &'static str)]) -> Applicable {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Applicable::of(&headers)
    }

    #[test]
    fn a_valid_targeted_field_replaces_cache_control() {
        let both = applicable(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60, foobar")]);
        assert!(both.is_targeted && !both.directives.no_store);
        assert_eq!(both.directives.max_age, Some(60));
        let lines =
            applicable(&[("cdn-cache-control", "private=\"a\""), ("cdn-cache-control", "no-cache=?0")]);
        assert_eq!(lines.directives.unstored_fields, ["a"]);
        assert!(!lines.directives.no_cache && !lines.directives.private);
    }

    #[test]
    fn an_empty_or_invalid_targeted_field_is_ignored() {
        for value in ["", "max-age=60, &&&", "MaX-aGe=60", "max-age =60", "max-age= 60", "max-age=60,"] {
            let applicable = applicable(&[("cdn-cache-control", value), ("cache-control", "no-store")]);
            assert!(!applicable.is_targeted && applicable.directives.no_store, "{value}");
        }
    }

    #[test]
    fn a_value_of_another_type_permits_nothing() {
        let wrong = applicable(&[("cdn-cache-control", "max-age=\"60\""), ("cache-control", "max-age=60")]);
        assert!(wrong.is_targeted && wrong.directives.max_age == Some(0), "nothing is assumed instead");
        let ignored = applicable(&[("cdn-cache-control", "max-age=60, stale-if-error=\"60\", public=1.5")]);
        assert!(ignored.directives.stale_if_error.is_none() && !ignored.directives.public);
        for value in ["no-store=1.5", "no-store=\"a\"", "no-store=(a)", "no-store=7", "no-store"] {
            assert!(applicable(&[("cdn-cache-control", value)]).directives.no_store, "{value}");
        }
        assert!(!applicable(&[("cdn-cache-control", "no-store=?0")]).directives.no_store);
        for value in ["private=1.5", "private=(a)", "private"] {
            assert!(applicable(&[("cdn-cache-control", value)]).directives.private, "{value}");
        }
        assert_eq!(applicable(&[("cdn-cache-control", "max-age=-1")]).directives.max_age, Some(0));
    }
}
