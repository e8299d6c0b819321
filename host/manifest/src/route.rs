//! Path patterns of HTTP triggers, and how a path finds its route.

use std::fmt;
use std::str::FromStr;

/// The path pattern of an HTTP trigger. A pattern has literal segments, `:name` for any one segment, and `/...` at
/// the end for any number of segments, including none. A trailing slash makes no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    text: Box<str>,
    pattern: Pattern,
}

/// What a route matches. The names of `:name` segments do not matter: routes with equal patterns match the same paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    /// Whether the pattern ends in `/...`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    Any,
}

/// The text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{route:?} is not a route: {reason}")]
pub struct InvalidRoute {
    /// The text of the manifest.
    pub route: String,
    /// The reason, for the error message.
    pub reason: &'static str,
}

/// How precisely one element of a pattern describes the path. A lesser value is more precise.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    OneSegment,
    Rest,
}

impl Route {
    pub(super) fn pattern(&self) -> &Pattern {
        &self.pattern
    }
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        let mut path = segments(path);
        let fits = self.segments.iter().all(|segment| match (segment, path.next()) {
            (Segment::Any, Some(given)) => !given.is_empty(),
            (Segment::Literal(literal), Some(given)) => **literal == *given,
            (_, None) => false,
        });
        fits && (self.open || path.next().is_none())
    }

    fn fits(&self) -> impl Iterator<Item = Fit> {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => Fit::Exact,
            Segment::Any => Fit::OneSegment,
        });
        segments.chain(self.open.then_some(Fit::Rest))
    }
}

/// The segments of a path, without the empty segment after a trailing slash.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let invalid = |reason| InvalidRoute { route: text.to_owned(), reason };
        if !text.starts_with('/') {
            return Err(invalid("it must begin with a slash"));
        }
        let closed = text.strip_suffix("/...").or_else(|| text.strip_suffix("/*"));
        let segments = segments(closed.unwrap_or(text)).map(|segment| match segment.strip_prefix(':') {
            Some("") => Err(invalid("`:` must be followed by a name")),
            Some(_) => Ok(Segment::Any),
            None if segment == "..." || segment.contains('*') => {
                Err(invalid("a wildcard is only allowed at the end"))
            }
            None => Ok(Segment::Literal(segment.into())),
        });
        let pattern = Pattern { segments: segments.collect::<Result<_, _>>()?, open: closed.is_some() };
        Ok(Self { text: text.into(), pattern })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The routes of an application, each with the index of its component. Routes have Spin's precedence, segment by
/// segment: a literal comes before `:name`, and `:name` comes before `/...`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes(Vec<(Route, usize)>);

impl Routes {
    /// Sorts `routes`, which may come in any order.
    #[must_use]
    pub fn new(mut routes: Vec<(Route, usize)>) -> Self {
        // The sort is stable, and the first route that matches wins. The end of a pattern is an exact fit of nothing.
        routes.sort_by(|(a, _), (b, _)| {
            let end = || std::iter::repeat_with(|| Fit::Exact);
            let (a, b) = (&a.pattern, &b.pattern);
            let length = a.segments.len().max(b.segments.len()) + 1;
            a.fits().chain(end()).take(length).cmp(b.fits().chain(end()).take(length))
        });
        Self(routes)
    }

    /// One route that leads every path to the first component.
    #[must_use]
    pub fn all() -> Self {
        let pattern = Pattern { segments: Vec::new(), open: true };
        Self(vec![(Route { text: "/...".into(), pattern }, 0)])
    }

    /// The route that matches `path` and the index of the route's component. `path` is as in the request line,
    /// without the query.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(&Route, usize)> {
        self.0
            .iter()
            .find(|(route, _)| route.pattern.matches(path))
            .map(|(route, component)| (route, *component))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(routes: &[&str], path: &str) -> Option<String> {
        let routes = Routes::new(routes.iter().map(|route| (route.parse().unwrap(), 0)).collect());
        routes.find(path).map(|(route, _)| route.to_string())
    }

    #[test]
    fn a_route_is_found_as_spin_finds_it() {
        let routes = ["/...", "/one/...", "/one/two", "/one/:id", "/one/:id/three", "/one/two/...", "/"];
        for (path, route) in [
            ("/", "/"),
            ("/other", "/..."),
            ("/one", "/one/..."),
            ("/one/", "/one/..."),
            ("/one/two", "/one/two"),
            ("/one/two/", "/one/two"),
            ("/one/x", "/one/:id"),
            ("/one/x/three", "/one/:id/three"),
            ("/one/two/three", "/one/two/..."),
            ("/one/x/four", "/one/..."),
            ("//one", "/..."),
        ] {
            assert_eq!(find(&routes, path).as_deref(), Some(route), "{path}");
        }
    }

    #[test]
    fn a_path_without_a_route_has_none() {
        assert_eq!(find(&["/one", "/two/:id"], "/"), None);
        assert_eq!(find(&["/one", "/two/:id"], "/one/two"), None);
        assert_eq!(find(&["/one", "/two/:id"], "/two"), None);
        assert_eq!(find(&["/one", "/two/:id"], "/two/"), None);
        assert_eq!(find(&["/one/..."], "/onetwo"), None);
        assert_eq!(find(&["/one/*"], "/one/two").as_deref(), Some("/one/*"));
    }

    #[test]
    fn what_is_no_route_is_named() {
        for route in ["", "one", "/.../one", "/*/one", "/:/one", "/one*"] {
            let error = route.parse::<Route>().unwrap_err().to_string();
            assert!(error.contains(&format!("{route:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn all_is_all(path in "\\PC*") {
            prop_assert!(Routes::all().find(&path).is_some());
        }

        #[test]
        fn the_order_of_routes_does_not_matter(
            mut routes in prop::collection::hash_set("(/[ab]|/:x){0,3}(/\\.\\.\\.)?", 1..6),
            path in "(/[abc]){0,4}/?",
        ) {
            routes.retain(|route| !route.is_empty());
            let forward: Vec<&str> = routes.iter().map(String::as_str).collect();
            let backward: Vec<&str> = forward.iter().rev().copied().collect();
            prop_assert_eq!(find(&forward, &path), find(&backward, &path));
        }
    }
}
