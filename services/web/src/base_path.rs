//! The path below which a service is served, if several share an address.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::Uri;
use http::uri::PathAndQuery;

use crate::platform::Platform;
use crate::settings::{InvalidSetting, Setting};

/// The setting: `/service-a`. Requests below this path are routed without the path. Other requests are routed as they
/// are: another component of the same process asks without the path.
const SETTING: &str = "base_path";

/// A path of unreserved characters (RFC 3986, 2.3) that begins with a slash and does not end with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// The value of the setting `base_path`; an empty path if it is not set.
    ///
    /// # Errors
    /// The value is no such path.
    pub fn read(platform: &Platform) -> Result<Self, InvalidSetting> {
        platform.setting_or(SETTING, Self(String::new()))
    }

    /// The path, to put it before the links of a page.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `uri` without the path; `None` if `uri` is not below the path.
    fn strip(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path_and_query()?.as_str().strip_prefix(&self.0)?;
        let target = match rest.bytes().next() {
            Some(b'/') => rest.to_owned(),
            None | Some(b'?') => format!("/{rest}"),
            Some(_) => return None,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        Uri::from_parts(parts).ok()
    }
}

impl Setting for BasePath {
    fn parse(value: &str) -> Result<Self, String> {
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte));
        let segments = value.strip_prefix('/').map(|rest| rest.split('/'));
        let is_path = segments.is_some_and(|mut all| all.all(|one| !matches!(one, "" | "." | "..")));
        (is_plain && is_path)
            .then(|| Self(value.to_owned()))
            .ok_or_else(|| "a path such as /service-a".to_owned())
    }
}

/// `router`, below the base path.
pub(crate) fn below(platform: &Platform, router: Router) -> Router {
    let strip = from_fn_with_state(platform.clone(), strip);
    Router::new().fallback_service(tower::Layer::layer(&strip, router))
}

/// An invalid setting is no base path: `/ready` reports the setting.
async fn strip(State(platform): State<Platform>, mut request: Request, next: Next) -> Response {
    if let Ok(base) = BasePath::read(&platform)
        && let Some(uri) = base.strip(request.uri())
    {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_path_is_stripped_at_a_segments_end_only() {
        let base = BasePath::parse("/a/b").unwrap();
        for (target, expected) in [
            ("/a/b", Some("/")),
            ("/a/b/", Some("/")),
            ("/a/b?x=1", Some("/?x=1")),
            ("/a/b/c?x=1", Some("/c?x=1")),
            ("/a/bc", None),
            ("/", None),
        ] {
            let stripped = base.strip(&target.parse().unwrap());
            assert_eq!(stripped.map(|uri| uri.to_string()).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn other_values_are_refused() {
        for value in ["a", "/", "/a/", "//a", "/a//b", "/a/../b", "/a?b", "/ä", "/a b"] {
            assert!(BasePath::parse(value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(value in ".*", target in "/[a-z/?%]*") {
            if let (Ok(base), Ok(uri)) = (BasePath::parse(&value), target.parse::<Uri>()) {
                let _ = base.strip(&uri);
            }
        }
    }
}
