//! The response cache at the admin port: its state, and what the operator purges.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;
use wasi_http_host_cache::{Cache, Purge};

/// The path of the cache's state.
pub(crate) const STATE: &str = "/response-cache";
/// The path of a purge.
pub(crate) const PURGE: &str = "/response-cache/purge";
/// The most bytes of a purge's query.
const MAX_QUERY_BYTES: usize = 16 << 10;

/// Why nothing was purged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unpurged {
    /// The query is not valid, for this reason.
    Invalid(String),
    /// No component with this ID is served, or none of its responses is cached.
    UnknownComponent(String),
}

/// The state of the cache, as JSON.
pub(crate) fn state(cache: &Cache) -> String {
    let statistics = cache.statistics();
    serde_json::json!({
        "entries": statistics.entries,
        "bytes": statistics.bytes,
        "used_bytes": statistics.used,
        "capacity_bytes": statistics.capacity,
    })
    .to_string()
}

/// Purges what the query names: everything, or with `component`, `group` or `uri` a part. Returns the number of responses.
pub(crate) fn purge(cache: &Cache, query: &str) -> Result<usize, Unpurged> {
    let invalid = |reason: String| Err(Unpurged::Invalid(reason));
    if query.len() > MAX_QUERY_BYTES {
        return invalid(format!("the query has {} bytes, over the limit of {MAX_QUERY_BYTES}", query.len()));
    }
    let (mut component, mut group, mut uri) = (None, None, None);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let place = match name {
            "component" => &mut component,
            "group" => &mut group,
            "uri" => &mut uri,
            _ => return invalid(format!("unknown parameter {name:?}: expected component, group or uri")),
        };
        let Ok(value) = percent_decode_str(value).decode_utf8() else {
            return invalid(format!("{name} is not UTF-8"));
        };
        if value.is_empty() || place.replace(value).is_some() {
            return invalid(format!("expected one value for {name}"));
        }
    }
    if group.is_some() && uri.is_some() {
        return invalid("expected either group or uri".to_owned());
    }
    let uri: Option<Uri> = match uri.as_deref().map(str::parse).transpose() {
        Ok(uri) => uri,
        Err(error) => return invalid(format!("uri: {error}")),
    };
    let address = match &uri {
        None => None,
        Some(uri) => match (uri.authority(), uri.path_and_query()) {
            (Some(authority), Some(path)) => Some((authority.as_str(), path.as_str())),
            _ => return invalid(format!("uri: {uri} is not absolute: write http://HOST/PATH")),
        },
    };
    let component: Option<Cow<'_, str>> = component;
    let purge = Purge { component: component.as_deref(), group: group.as_deref(), address };
    cache.purge(&purge).ok_or_else(|| Unpurged::UnknownComponent(component.unwrap_or_default().into_owned()))
}

#[cfg(test)]
mod tests {
    use wasi_http_host_cache::Settings;

    use super::*;

    #[test]
    fn a_purge_names_what_it_purges() {
        let cache = Cache::new(Settings { capacity: 1 << 20, request_directives: false, set_cookie: false });
        let _space = cache.space("a b");
        for query in ["", "component=a%20b", "group=%22x%22", "uri=http%3A%2F%2Fx%2Fy%3Fz&component=a%20b"] {
            assert_eq!(purge(&cache, query), Ok(0), "{query}");
        }
        assert_eq!(purge(&cache, "component=b"), Err(Unpurged::UnknownComponent("b".to_owned())));
        for (query, reason) in [
            ("path=x", "unknown parameter \"path\": expected component, group or uri"),
            ("group=", "expected one value for group"),
            ("group=a&group=b", "expected one value for group"),
            ("group=a&uri=http://x/", "expected either group or uri"),
            ("group=%ff", "group is not UTF-8"),
            ("uri=/x", "uri: /x is not absolute: write http://HOST/PATH"),
        ] {
            assert_eq!(purge(&cache, query), Err(Unpurged::Invalid(reason.to_owned())), "{query}");
        }
        let long = "x".repeat(MAX_QUERY_BYTES + 1);
        assert!(
            matches!(purge(&cache, &long), Err(Unpurged::Invalid(reason)) if reason.contains("16385 bytes"))
        );
    }
}
