//! Routing: from a request's method and target to the operation that answers it.

use std::borrow::Cow;

use crate::request::percent;
use crate::request::rejection::Rejection;
use crate::text;

/// A request method. The set is closed, because methods are metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Answered by all routes but `DELETE /cache` (RFC 9110, 9.3.1).
    Get,
    /// Answered wherever `GET` is; the host leaves out the body (RFC 9110, 9.3.2).
    Head,
    /// Answered by no route (RFC 9110, 9.3.3).
    Post,
    /// Answered by no route (RFC 9110, 9.3.4).
    Put,
    /// Answered by no route (RFC 5789).
    Patch,
    /// Answered by `/cache` alone (RFC 9110, 9.3.5).
    Delete,
    /// Answered by no route (RFC 9110, 9.3.7). The service itself answers a CORS preflight.
    Options,
    /// Answered by no route (RFC 9110, 9.3.8).
    Trace,
    /// Answered by no route (RFC 9110, 9.3.6).
    Connect,
    /// All methods that have no variant of their own.
    Other,
}

impl Method {
    /// All methods, in the order of the variants.
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Trace,
        Self::Connect,
        Self::Other,
    ];

    /// The method called `name`, which is case-sensitive (RFC 9110, 9.1); [`Method::Other`] if it is unknown.
    pub fn new(name: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.label() == name).unwrap_or(Self::Other)
    }

    /// The method's name as a metric label. All unknown methods share the label `OTHER`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "OTHER",
        }
    }

    /// Whether the method is `GET` or `HEAD`.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// A route's template. The set is closed, because templates are metric labels. Each one but
/// [`Endpoint::Unmatched`] is a path of the OpenAPI document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `/`, answered as `/health`.
    Root,
    /// `/health`: liveness.
    Health,
    /// `/ready`: readiness.
    Ready,
    /// `/{username}`: a page of gists.
    User,
    /// `/users/{username}/gists`: a page of gists, whatever the name.
    UserGists,
    /// `/cache/stats`: hits, misses and size.
    CacheStats,
    /// `/cache`, with a method other than `GET` and `HEAD`: those ask for the user `cache`.
    Cache,
    /// `/metrics`: Prometheus text.
    Metrics,
    /// `/openapi.json`: the API's description.
    OpenApi,
    /// `/docs`: a page that shows the description.
    Docs,
    /// A path that no route has.
    Unmatched,
}

impl Endpoint {
    /// All endpoints, in the order of the variants.
    pub const ALL: [Self; 11] = [
        Self::Root,
        Self::Health,
        Self::Ready,
        Self::User,
        Self::UserGists,
        Self::CacheStats,
        Self::Cache,
        Self::Metrics,
        Self::OpenApi,
        Self::Docs,
        Self::Unmatched,
    ];

    /// The path template, which is also the metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Health => "/health",
            Self::Ready => "/ready",
            Self::User => "/{username}",
            Self::UserGists => "/users/{username}/gists",
            Self::CacheStats => "/cache/stats",
            Self::Cache => "/cache",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
            Self::Unmatched => "unmatched",
        }
    }

    /// The methods that the path supports: the value of `Allow` (RFC 9110, 10.2.1). Empty for
    /// [`Endpoint::Unmatched`].
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Cache => "GET, HEAD, DELETE",
            Self::Unmatched => "",
            _ => "GET, HEAD",
        }
    }
}

/// The operation that answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /` and `GET /health`: liveness.
    Health,
    /// `GET /ready`: readiness, which depends on the settings.
    Ready,
    /// `GET /{username}` and `GET /users/{username}/gists`: a page of gists.
    Gists {
        /// The name, percent-decoded and not validated yet. Not empty, without a slash.
        name: Cow<'a, str>,
    },
    /// `GET /cache/stats`: hits, misses and size of the cache.
    CacheStats,
    /// `DELETE /cache`: ends the current generation of the cache.
    ClearCache,
    /// `GET /metrics`: the service's metrics as Prometheus text.
    Metrics,
    /// `GET /openapi.json`: the description of the API.
    OpenApi,
    /// `GET /docs`: a page that shows the description.
    Docs,
}

/// The result of routing a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// The template that the metrics count the request under.
    pub endpoint: Endpoint,
    /// The query as it was sent, without its `?`.
    pub query: &'a str,
    /// The operation, or why there is none: [`Rejection::NotFound`], [`Rejection::MethodNotAllowed`] or
    /// [`Rejection::Redirect`].
    pub route: Result<Route<'a>, Rejection>,
}

/// Routes a request by its method and its target in origin form (`/path?query`). An empty target counts as `/`.
pub fn route(method: Method, target: &str) -> Routed<'_> {
    let (path, query) = text::split_once(target, b'?').unwrap_or((target, ""));
    let Some(matched) = Matched::find(path) else {
        return Routed { endpoint: Endpoint::Unmatched, query, route: Err(Rejection::NotFound) };
    };
    if matched.slash {
        let location = matched.location(query);
        return Routed { endpoint: matched.endpoint, query, route: Err(Rejection::Redirect { location }) };
    }
    let (endpoint, route) = matched.dispatch(method);
    Routed { endpoint, query, route }
}

/// A path that matches a template.
struct Matched<'a> {
    endpoint: Endpoint,
    /// The user's name, decoded, if the template has one.
    name: Cow<'a, str>,
    /// Whether the path has an additional slash at its end.
    slash: bool,
}

impl<'a> Matched<'a> {
    /// The template that `path` matches. Segments are split before they are decoded, so an encoded slash does not
    /// separate segments, and a segment that contains one matches nothing. An empty segment matches nothing either:
    /// `//host/` must not lead to a redirect to another host.
    fn find(path: &'a str) -> Option<Self> {
        if matches!(path, "" | "/") {
            return Some(Self { endpoint: Endpoint::Root, name: Cow::Borrowed(""), slash: false });
        }
        let path = path.strip_prefix('/')?;
        let (path, slash) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let mut segments = segments(path).map(percent::decode);
        let first = segments.next().filter(|segment| fits(segment))?;
        let (endpoint, name) = match (segments.next(), segments.next(), segments.next()) {
            (None, ..) => match &*first {
                "health" => (Endpoint::Health, first),
                "ready" => (Endpoint::Ready, first),
                "metrics" => (Endpoint::Metrics, first),
                "openapi.json" => (Endpoint::OpenApi, first),
                "docs" => (Endpoint::Docs, first),
                _ => (Endpoint::User, first),
            },
            (Some(second), None, _) if first == "cache" && second == "stats" => {
                (Endpoint::CacheStats, second)
            }
            (Some(name), Some(third), None) if first == "users" && fits(&name) && third == "gists" => {
                (Endpoint::UserGists, name)
            }
            _ => return None,
        };
        Some(Self { endpoint, name, slash })
    }

    /// A relative reference to the path without its last slash. It is built from the decoded name, so that it always
    /// starts with one slash and an unreserved character or `%`: a client resolves it to this host.
    fn location(&self, query: &str) -> String {
        let mut location = reference(self.endpoint, &self.name);
        if !query.is_empty() {
            location.push('?');
            location.push_str(&percent::encode_query(query));
        }
        location
    }

    fn dispatch(self, method: Method) -> (Endpoint, Result<Route<'a>, Rejection>) {
        let Self { endpoint, name, .. } = self;
        // `GET /cache` asks for the user `cache`. All other methods on that path are about the cache itself.
        if endpoint == Endpoint::User && name == "cache" && !method.reads() {
            let route = match method {
                Method::Delete => Ok(Route::ClearCache),
                _ => Err(Rejection::MethodNotAllowed { allow: Endpoint::Cache.allow() }),
            };
            return (Endpoint::Cache, route);
        }
        if !method.reads() {
            return (endpoint, Err(Rejection::MethodNotAllowed { allow: endpoint.allow() }));
        }
        let route = match endpoint {
            Endpoint::Root | Endpoint::Health => Ok(Route::Health),
            Endpoint::Ready => Ok(Route::Ready),
            Endpoint::User | Endpoint::UserGists => Ok(Route::Gists { name }),
            Endpoint::CacheStats => Ok(Route::CacheStats),
            Endpoint::Metrics => Ok(Route::Metrics),
            Endpoint::OpenApi => Ok(Route::OpenApi),
            Endpoint::Docs => Ok(Route::Docs),
            Endpoint::Cache | Endpoint::Unmatched => Err(Rejection::NotFound),
        };
        (endpoint, route)
    }
}

/// The segments of a path without its first slash. The fourth one is the rest of the path.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    let mut left = 4;
    std::iter::from_fn(move || {
        let path = rest?;
        left -= 1;
        let split = if left == 0 { None } else { text::split_once(path, b'/') };
        rest = split.map(|(_, behind)| behind);
        Some(split.map_or(path, |(segment, _)| segment))
    })
}

/// Whether a decoded segment may be a name.
fn fits(segment: &str) -> bool {
    !segment.is_empty() && !text::contains(segment, b'/')
}

/// The path of an endpoint, percent-encoded. `name` is decoded, and used if the template has a name.
pub(crate) fn reference(endpoint: Endpoint, name: &str) -> String {
    match endpoint {
        Endpoint::User => format!("/{}", percent::encode_segment(name)),
        Endpoint::UserGists => format!("/users/{}/gists", percent::encode_segment(name)),
        other => other.label().to_owned(),
    }
}

#[cfg(test)]
mod tests;
