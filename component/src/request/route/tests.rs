//! Routing: every route, every way to miss one, and redirects that stay on this host.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{Endpoint, Method, Route, Routed, route};
use crate::request::rejection::Rejection;

fn get(target: &str) -> (Endpoint, Result<Route<'_>, Rejection>) {
    let Routed { endpoint, route, .. } = route(Method::Get, target);
    (endpoint, route)
}

fn gists(name: &str) -> Result<Route<'_>, Rejection> {
    Ok(Route::Gists { name: Cow::Borrowed(name) })
}

#[test]
fn every_route_is_found() {
    for (path, endpoint, expected) in [
        ("", Endpoint::Root, Ok(Route::Health)),
        ("/", Endpoint::Root, Ok(Route::Health)),
        ("/health", Endpoint::Health, Ok(Route::Health)),
        ("/ready", Endpoint::Ready, Ok(Route::Ready)),
        ("/ready?verbose", Endpoint::Ready, Ok(Route::Ready)),
        ("/octocat", Endpoint::User, gists("octocat")),
        ("/cache", Endpoint::User, gists("cache")),
        ("/users", Endpoint::User, gists("users")),
        ("/Health", Endpoint::User, gists("Health")),
        ("/users/octocat/gists", Endpoint::UserGists, gists("octocat")),
        ("/users/health/gists", Endpoint::UserGists, gists("health")),
        ("/cache/stats", Endpoint::CacheStats, Ok(Route::CacheStats)),
        ("/metrics", Endpoint::Metrics, Ok(Route::Metrics)),
        ("/openapi.json", Endpoint::OpenApi, Ok(Route::OpenApi)),
        ("/docs", Endpoint::Docs, Ok(Route::Docs)),
        ("/%68ealth", Endpoint::Health, Ok(Route::Health)),
        ("/%75sers/%61/%67ists", Endpoint::UserGists, gists("a")),
        ("/a%20b", Endpoint::User, gists("a b")),
        ("/%FF", Endpoint::User, gists("\u{fffd}")),
        ("/..", Endpoint::User, gists("..")),
        ("/\\host", Endpoint::User, gists("\\host")),
    ] {
        assert_eq!(get(path), (endpoint, expected), "{path}");
    }
}

#[test]
fn everything_else_is_not_found() {
    for path in [
        "//",
        "///",
        "//host",
        "//host/",
        "/a//",
        "/a/b",
        "/a/b/",
        "/users/a",
        "/users/a/",
        "/users//gists",
        "/users/a/gists/b",
        "/users/a/gists//",
        "/users/a%2Fb/gists",
        "/a%2Fb",
        "/a%2fb/",
        "/%2F",
        "/%2Fhost",
        "/%2F%2Fhost/",
        "/cache/stats/x",
        "/cache%2Fstats",
        "/users%2Fa%2Fgists",
        "*",
        "octocat",
        "/a/b/c/d/e/f",
    ] {
        assert_eq!(get(path), (Endpoint::Unmatched, Err(Rejection::NotFound)), "{path}");
    }
}

#[test]
fn one_slash_too_many_leads_to_the_path_without_it() {
    for (target, location) in [
        ("/octocat/", "/octocat"),
        ("/Octocat/?page=2&x=%20", "/Octocat?page=2&x=%20"),
        ("/octocat/?", "/octocat"),
        ("/health/", "/health"),
        ("/cache/", "/cache"),
        ("/cache/stats/", "/cache/stats"),
        ("/users/a/gists/?page=2", "/users/a/gists?page=2"),
        ("/%6Fctocat/", "/octocat"),
        ("/dependabot[bot]/", "/dependabot%5Bbot%5D"),
        ("/\\host/", "/%5Chost"),
        ("/%5Chost/", "/%5Chost"),
        ("/a\r\nb/?c\r\nd", "/a%0D%0Ab?c%0D%0Ad"),
        ("/a/??", "/a??"),
    ] {
        assert_eq!(get(target).1, Err(Rejection::Redirect { location: location.to_owned() }), "{target}");
    }
}

#[test]
fn other_methods_are_refused_with_the_ones_that_are_not() {
    let refused = |allow| Err(Rejection::MethodNotAllowed { allow });
    for method in Method::ALL.into_iter().filter(|method| !method.reads()) {
        for path in ["/", "/health", "/octocat", "/users/a/gists", "/cache/stats", "/docs"] {
            assert_eq!(route(method, path).route, refused("GET, HEAD"), "{method:?} {path}");
        }
        let expected =
            if method == Method::Delete { Ok(Route::ClearCache) } else { refused("GET, HEAD, DELETE") };
        let Routed { endpoint, route, .. } = route(method, "/cache");
        assert_eq!((endpoint, route), (Endpoint::Cache, expected));
    }
}

#[test]
fn head_is_routed_as_get() {
    for endpoint in Endpoint::ALL {
        let path = endpoint.label().replace("{username}", "octocat");
        assert_eq!(route(Method::Head, &path), route(Method::Get, &path));
    }
}

#[test]
fn labels_are_a_closed_set() {
    for method in Method::ALL {
        assert_eq!(Method::new(method.label()), method);
    }
    for name in ["get", "PROPFIND", "", "OTHER"] {
        assert_eq!(Method::new(name).label(), "OTHER");
    }
}

#[test]
fn the_query_is_what_follows_the_first_question_mark() {
    assert_eq!(route(Method::Get, "/a?b?c").query, "b?c");
    assert_eq!(route(Method::Get, "/a").query, "");
    assert_eq!(get("/a%3Fb").1, gists("a?b"));
}

/// Text that is likely to come near a route.
fn target() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("//"),
        Just("users"),
        Just("gists"),
        Just("cache"),
        Just("stats"),
        Just("health"),
        Just("a"),
        Just("%2F"),
        Just("%5C"),
        Just("\\"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("@"),
        Just(":"),
        Just("?"),
        Just("#"),
        Just("%"),
        Just("%00"),
        Just("\r\n"),
        Just("\t"),
        Just("host.example"),
        Just("http:"),
        Just("é"),
    ];
    prop_oneof![
        proptest::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat())),
        any::<String>(),
    ]
}

proptest! {
    /// A reference of one slash, then a character that is none of `/`, `\` or white space, is a path on every reader.
    #[test]
    fn a_redirect_stays_on_this_host_and_leads_to_a_route(target in target()) {
        let Err(Rejection::Redirect { location }) = route(Method::Get, &target).route else { return Ok(()) };
        let mut bytes = location.bytes();
        prop_assert_eq!(bytes.next(), Some(b'/'));
        prop_assert!(bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b"%-._~".contains(&b)), "{}", location);
        prop_assert!(location.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'), "{}", location);
        let again = route(Method::Get, &location);
        prop_assert!(again.route.is_ok(), "{} → {:?}", location, again);
    }

    #[test]
    fn a_name_is_never_empty_and_has_no_slash(target in target()) {
        if let Ok(Route::Gists { name }) = route(Method::Get, &target).route {
            prop_assert!(!name.is_empty() && !name.contains('/'));
        }
    }

    #[test]
    fn any_method_on_any_target_is_routed(method: String, target: String) {
        let routed = route(Method::new(&method), &target);
        prop_assert!(routed.route.is_ok() || routed.endpoint != Endpoint::Root || method != "GET");
    }
}
