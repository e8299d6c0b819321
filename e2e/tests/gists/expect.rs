//! Assertions on responses of the API.

use serde_json::Value;
use testkit::http::Response;

/// Assertions and accessors for responses of the API.
pub(crate) trait Expect {
    /// Asserts that the response is this JSON error, byte for byte, and that caches may not store it (a 404 may be stored).
    fn is_error(&self, status: u16, detail: &str);
    /// The member `detail` of an error.
    fn detail(&self) -> String;
    /// The `Cache-Status`, without the cache's name.
    fn cache_status(&self) -> &str;
    /// The member `cache.hit` of the body.
    fn hit(&self) -> bool;
    /// The ids of the gists in the list, in order.
    fn ids(&self) -> Vec<String>;
}

impl Expect for Response {
    #[track_caller]
    fn is_error(&self, status: u16, detail: &str) {
        let expected = format!("{{\"detail\":{}}}", Value::from(detail));
        assert_eq!((self.status, self.text()), (status, expected.as_str()), "{:?}", self.headers);
        assert_eq!(self.header("content-type"), Some("application/json"));
        let caching = self.header("cache-control").unwrap_or_default();
        assert!(
            caching.contains("no-store") || (status == 404 && caching.contains("max-age=")),
            "{caching:?}"
        );
    }

    #[track_caller]
    fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_else(|| panic!("no detail: {}", self.text())).to_owned()
    }

    #[track_caller]
    fn cache_status(&self) -> &str {
        let value =
            self.header("cache-status").unwrap_or_else(|| panic!("no Cache-Status: {:?}", self.headers));
        value.strip_prefix("gists; ").unwrap_or_else(|| panic!("another cache's: {value}"))
    }

    #[track_caller]
    fn hit(&self) -> bool {
        self.json()["cache"]["hit"]
            .as_bool()
            .unwrap_or_else(|| panic!("not a list: {} {}", self.status, self.text()))
    }

    #[track_caller]
    fn ids(&self) -> Vec<String> {
        let body = self.json();
        let data = body["data"].as_array().unwrap_or_else(|| panic!("not a list: {body}"));
        data.iter().map(|gist| gist["id"].as_str().unwrap().to_owned()).collect()
    }
}
