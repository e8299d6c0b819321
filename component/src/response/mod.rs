//! What a response consists of, and all of its headers.

pub mod accept;
pub mod conditional;
pub mod docs;
pub mod error;
pub mod link;
pub mod openapi;
pub mod problem;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use crate::request::query::GistQuery;
use crate::request::route::Endpoint;
use crate::response::conditional::CacheStatus;
use crate::response::link::Relations;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// What follows them.
    pub body: Body,
}

/// A body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// None at all.
    Empty,
    /// One that never changes.
    Fixed(&'static [u8]),
    /// One made for this request.
    Made(Vec<u8>),
}

impl Body {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Fixed(bytes) => bytes.len(),
            Self::Made(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, copied only where they are fixed.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Fixed(bytes) => bytes.to_vec(),
            Self::Made(bytes) => bytes,
        }
    }
}

/// Everything that goes into a response's status and headers, and nothing else: equal heads have equal headers, so a
/// platform may keep the rendered ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Head {
    status: u16,
    /// The length of the body; `None` for a 304, which has none.
    length: Option<usize>,
    cors: Option<Rc<str>>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Gists(Gists),
    Plain(Plain),
}

/// The headers of a page of gists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gists {
    /// The hash of data and pagination.
    pub etag: [u8; 16],
    /// How long it may be kept, and how old it is, in seconds; `None` where it may not be kept at all.
    pub keeping: Option<(u64, u64)>,
    /// How the cache came to it.
    pub cache_status: CacheStatus,
    /// What `Link` is made of.
    pub link: Link,
}

/// Where the pages beside this one are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The route that was asked.
    pub endpoint: Endpoint,
    /// The name, as asked.
    pub name: String,
    /// The query, as asked.
    pub raw_query: String,
    /// What it asks for.
    pub asked: GistQuery,
    /// Which other pages there are.
    pub relations: Relations,
}

/// The headers of everything else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plain {
    /// `Content-Type`; empty where there is no body.
    pub content_type: &'static str,
    /// `Cache-Control`
    pub cache_control: Cow<'static, str>,
    /// `Content-Security-Policy`
    pub policy: &'static str,
    /// Whether the form depends on `Accept`.
    pub varies: bool,
    /// `Cache-Status`
    pub cache_status: Option<CacheStatus>,
    /// One more.
    pub extra: Option<(&'static str, String)>,
}

/// What nothing but a page for people needs: no script, no frame, no anything.
pub const NO_CONTENT_POLICY: &str = "default-src 'none'";

impl Plain {
    /// The headers of an answer of `content_type` that is not to be kept.
    #[must_use]
    pub fn new(content_type: &'static str) -> Self {
        Self {
            content_type,
            cache_control: Cow::Borrowed("no-store"),
            policy: NO_CONTENT_POLICY,
            varies: false,
            cache_status: None,
            extra: None,
        }
    }
}

impl Response {
    /// A page of gists.
    #[must_use]
    pub fn gists(gists: Gists, body: Vec<u8>, cors: Option<&Rc<str>>) -> Self {
        let head =
            Head { status: 200, length: Some(body.len()), cors: cors.cloned(), kind: Kind::Gists(gists) };
        Self { head, body: Body::Made(body) }
    }

    /// Anything else.
    #[must_use]
    pub fn plain(status: u16, plain: Plain, body: Body, cors: Option<&Rc<str>>) -> Self {
        let head = Head { status, length: Some(body.len()), cors: cors.cloned(), kind: Kind::Plain(plain) };
        Self { head, body }
    }

    /// The answer to a client that has this page already.
    #[must_use]
    pub fn not_modified(gists: Gists, cors: Option<&Rc<str>>) -> Self {
        let head = Head { status: 304, length: None, cors: cors.cloned(), kind: Kind::Gists(gists) };
        Self { head, body: Body::Empty }
    }
}

impl Head {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another response is likely to have the same head.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match &self.kind {
            Kind::Gists(_) => true,
            Kind::Plain(plain) => plain.extra.is_none(),
        }
    }

    /// Calls `each` with every header: names in lower case.
    pub fn headers(&self, mut each: impl FnMut(&'static str, &str)) {
        let varies = match &self.kind {
            Kind::Gists(gists) => {
                if self.length.is_some() {
                    each("content-type", "application/json");
                }
                gists.headers(&mut each);
                true
            }
            Kind::Plain(plain) => {
                plain.headers(&mut each);
                plain.varies
            }
        };
        if varies {
            each("vary", "Accept");
        }
        each("x-content-type-options", "nosniff");
        each("referrer-policy", "no-referrer");
        if let Some(origin) = &self.cors {
            each("access-control-allow-origin", origin);
        }
        if let Some(length) = self.length {
            each("content-length", &length.to_string());
        }
    }
}

impl Gists {
    fn headers(&self, each: &mut impl FnMut(&'static str, &str)) {
        match self.keeping {
            None => each("cache-control", "no-store"),
            Some((max_age, age)) => {
                each("cache-control", &conditional::cache_control(max_age));
                each("age", &age.to_string());
            }
        }
        each("etag", &conditional::etag(self.etag));
        let Link { endpoint, name, raw_query, asked, relations } = &self.link;
        if let Some(link) = link::render(*endpoint, name, raw_query, *asked, *relations) {
            each("link", &link);
        }
        each("cache-status", &self.cache_status.to_string());
        each("content-security-policy", NO_CONTENT_POLICY);
    }
}

impl Plain {
    fn headers(&self, each: &mut impl FnMut(&'static str, &str)) {
        if !self.content_type.is_empty() {
            each("content-type", self.content_type);
        }
        each("cache-control", &self.cache_control);
        if let Some(cache_status) = self.cache_status {
            each("cache-status", &cache_status.to_string());
        }
        if let Some((name, value)) = &self.extra {
            each(name, value);
        }
        each("content-security-policy", self.policy);
    }
}

/// `max-age` and `Age` of an entry, in seconds: a cache subtracts the one from the other.
#[must_use]
pub fn keeping(stored_at: Duration, fresh_until: Duration, now: Duration) -> (u64, u64) {
    (fresh_until.saturating_sub(stored_at).as_secs(), now.saturating_sub(stored_at).as_secs())
}

/// `ttl` of `Cache-Status`: the seconds that an entry is fresh for, negative once it is not.
#[must_use]
pub fn ttl(fresh_until: Duration, now: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match fresh_until.checked_sub(now) {
        Some(left) => seconds(left),
        // Rounded away from zero: no stale entry shows a TTL that a fresh one could have.
        None => -seconds(now.saturating_sub(fresh_until)).saturating_add(1),
    }
}
