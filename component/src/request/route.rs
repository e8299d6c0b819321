//! From a request's method and target to what is to be done.

use std::borrow::Cow;

use crate::request::percent;
use crate::response::error::Error;

/// A request method, as far as the service tells them apart: a closed set, also of metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: as `GET`, without the body.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `CONNECT`.
    Connect,
    /// Any other.
    Other,
}

impl Method {
    /// Every method.
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

    /// From its name, which is case-sensitive (RFC 9110, 9.1).
    pub fn new(name: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.label() == name).unwrap_or(Self::Other)
    }

    /// Its name, as a metric label; what is unknown shares one.
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

    /// `GET` or `HEAD`.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// A route's template: a closed set of metric labels, and one row a path of the OpenAPI document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `/`
    Root,
    /// `/health`
    Health,
    /// `/ready`
    Ready,
    /// `/{username}`
    User,
    /// `/users/{username}/gists`
    UserGists,
    /// `/cache/stats`
    CacheStats,
    /// `/cache`, when it is not read as a user's name
    Cache,
    /// `/metrics`
    Metrics,
    /// `/openapi.json`
    OpenApi,
    /// `/docs`
    Docs,
    /// No route.
    Unmatched,
}

impl Endpoint {
    /// Every endpoint.
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

    /// The template, as a metric label.
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

    /// The methods that it answers: the value of `Allow`.
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Cache => "GET, HEAD, DELETE",
            Self::Unmatched => "",
            _ => "GET, HEAD",
        }
    }
}

/// What a routed request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /`, `GET /health`.
    Health,
    /// `GET /ready`.
    Ready,
    /// `GET /{username}`, `GET /users/{username}/gists`: the name, percent-decoded and not validated yet.
    Gists {
        /// The name, percent-decoded: anything but empty and without a slash.
        name: Cow<'a, str>,
    },
    /// `GET /cache/stats`.
    CacheStats,
    /// `DELETE /cache`.
    ClearCache,
    /// `GET /metrics`.
    Metrics,
    /// `GET /openapi.json`.
    OpenApi,
    /// `GET /docs`.
    Docs,
}

/// A request, routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// Whose metrics it counts in.
    pub endpoint: Endpoint,
    /// The raw query, without its `?`.
    pub query: &'a str,
    /// What it wants, or the answer that routing alone gives: [`Error::NotFound`], [`Error::MethodNotAllowed`], [`Error::Redirect`].
    pub route: Result<Route<'a>, Error>,
}

/// Routes a request by its method and its target in origin form (`/path?query`; the empty one is `/`).
pub fn route(method: Method, target: &str) -> Routed<'_> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(matched) = Matched::find(path) else {
        return Routed { endpoint: Endpoint::Unmatched, query, route: Err(Error::NotFound) };
    };
    if matched.slash {
        let location = matched.location(query);
        return Routed { endpoint: matched.endpoint, query, route: Err(Error::Redirect { location }) };
    }
    let (endpoint, route) = matched.dispatch(method);
    Routed { endpoint, query, route }
}

/// A path that fits a template.
struct Matched<'a> {
    endpoint: Endpoint,
    /// The user's name, of the two templates that have one.
    name: Cow<'a, str>,
    /// Whether one slash too many stands at the end.
    slash: bool,
}

impl<'a> Matched<'a> {
    /// Segments are split first and decoded then, so an encoded slash never makes one; a segment that holds one fits
    /// nothing. An empty segment fits nothing either, which also keeps `//host/` out.
    fn find(path: &'a str) -> Option<Self> {
        if matches!(path, "" | "/") {
            return Some(Self { endpoint: Endpoint::Root, name: Cow::Borrowed(""), slash: false });
        }
        let path = path.strip_prefix('/')?;
        let (path, slash) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let mut segments = path.splitn(4, '/').map(percent::decode);
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

    /// Where the path without its last slash is. Relative, and made from the decoded name: whatever stood there,
    /// the reference starts with one slash and an unreserved character or `%`, so it stays on this host.
    fn location(&self, query: &str) -> String {
        let mut location = reference(self.endpoint, &self.name);
        if !query.is_empty() {
            location.push('?');
            location.push_str(&percent::encode_query(query));
        }
        location
    }

    fn dispatch(self, method: Method) -> (Endpoint, Result<Route<'a>, Error>) {
        let Self { endpoint, name, .. } = self;
        // `GET /cache` is the user `cache`; every other method on that path is about the cache.
        if endpoint == Endpoint::User && name == "cache" && !method.reads() {
            let route = match method {
                Method::Delete => Ok(Route::ClearCache),
                _ => Err(Error::MethodNotAllowed { allow: Endpoint::Cache.allow() }),
            };
            return (Endpoint::Cache, route);
        }
        if !method.reads() {
            return (endpoint, Err(Error::MethodNotAllowed { allow: endpoint.allow() }));
        }
        let route = match endpoint {
            Endpoint::Root | Endpoint::Health => Ok(Route::Health),
            Endpoint::Ready => Ok(Route::Ready),
            Endpoint::User | Endpoint::UserGists => Ok(Route::Gists { name }),
            Endpoint::CacheStats => Ok(Route::CacheStats),
            Endpoint::Metrics => Ok(Route::Metrics),
            Endpoint::OpenApi => Ok(Route::OpenApi),
            Endpoint::Docs => Ok(Route::Docs),
            Endpoint::Cache | Endpoint::Unmatched => Err(Error::NotFound),
        };
        (endpoint, route)
    }
}

/// Whether a decoded segment can be a name.
fn fits(segment: &str) -> bool {
    !segment.is_empty() && !segment.contains('/')
}

/// The path of an endpoint, with a decoded name in it where it has one.
pub(crate) fn reference(endpoint: Endpoint, name: &str) -> String {
    match endpoint {
        Endpoint::User => format!("/{}", percent::encode_segment(name)),
        Endpoint::UserGists => format!("/users/{}/gists", percent::encode_segment(name)),
        other => other.label().to_owned(),
    }
}

#[cfg(test)]
mod tests;
