//! Responses: status, headers and body.

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

use crate::github::link::Relations;
use crate::request::target::PageTarget;
use crate::response::conditional::{CacheStatus, GROUP};
use crate::text;

/// A response to a client, before the platform sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, and what the headers depend on.
    pub head: Head,
    /// The body, without transfer coding.
    pub body: Body,
}

/// The bytes of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// There is no body: a 204 or a 304.
    Empty,
    /// A body that is part of the program.
    Fixed(&'static [u8]),
    /// A body that was built for this request.
    Owned(Vec<u8>),
}

impl Body {
    /// The length in bytes, as `Content-Length` states it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Fixed(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Fixed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// The status and all values that the headers depend on. Equal heads have equal headers, so a platform may cache the
/// rendered headers by head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    status: u16,
    /// The length of the body in bytes; `None` for a 204 and a 304, which have no `Content-Length`.
    length: Option<usize>,
    cors: Option<Rc<str>>,
    kind: HeadKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HeadKind {
    Gists(GistsHead),
    Plain(PlainHead),
    Preflight,
}

/// The headers of the answer to a preflight (the Fetch standard, 3.2.3), beside `Access-Control-Allow-Origin`.
///
/// - Pages of other origins may read. `DELETE /cache` is for operators, and without `admin_token` it needs no secret.
/// - Any header may be sent, because the service ignores those that it does not know. `*` does not cover `Authorization`,
///   which a gateway may want.
/// - Browsers keep the answer for two hours, which is as long as Chromium keeps one.
const PREFLIGHT: [(&str, &str); 5] = [
    ("access-control-allow-methods", "GET, HEAD"),
    ("access-control-allow-headers", "*, Authorization"),
    ("access-control-max-age", "7200"),
    ("cache-control", "public, max-age=7200"),
    ("vary", "Origin, Access-Control-Request-Method"),
];

/// What the headers of a page of gists depend on.
#[derive(Debug, Clone, Eq)]
pub struct GistsHead {
    /// The hash of data and pagination: see [`conditional::etag`].
    pub etag: [u8; 16],
    /// The page's lifetime and age, in seconds: see [`lifetime`]. `None` if caches must not store the page.
    pub lifetime: Option<(u64, u64)>,
    /// How the cache handled the request.
    pub cache_status: CacheStatus,
    /// What the value of `Link` depends on.
    pub links: PageLinks,
}

/// What the references to a page's neighbours depend on.
#[derive(Debug, Clone, Eq)]
pub struct PageLinks {
    /// What the client asked for.
    pub target: Rc<PageTarget>,
    /// Which neighbours the page has.
    pub relations: Relations,
}

/// What the headers of all other responses depend on.
#[derive(Debug, Clone, Eq)]
pub struct PlainHead {
    /// The value of `Content-Type`; empty if there is no body.
    pub content_type: &'static str,
    /// The value of `Cache-Control`: by default `no-store`.
    pub cache_control: Cow<'static, str>,
    /// The value of `Content-Security-Policy`: by default [`NO_CONTENT_POLICY`].
    pub policy: &'static str,
    /// Whether the body's form depends on `Accept`.
    pub varies: bool,
    /// The value of `Cache-Status`, if the cache was asked.
    pub cache_status: Option<CacheStatus>,
    /// One more header, name and value.
    pub extra: Option<(&'static str, String)>,
}

/// The `Content-Security-Policy` of everything but `/docs`: a browser must load and run nothing.
pub const NO_CONTENT_POLICY: &str = "default-src 'none'";

impl PartialEq for PlainHead {
    fn eq(&self, other: &Self) -> bool {
        text::equal(self.content_type, other.content_type)
            && text::equal(&self.cache_control, &other.cache_control)
            && text::equal(self.policy, other.policy)
            && self.varies == other.varies
            && self.cache_status == other.cache_status
            && self.extra == other.extra
    }
}

impl PlainHead {
    /// The head of a response of `content_type` that caches must not store.
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
    /// A 200 with a page of gists.
    #[must_use]
    pub fn gists(gists: GistsHead, body: Vec<u8>, cors: Option<&Rc<str>>) -> Self {
        let head =
            Head { status: 200, length: Some(body.len()), cors: cors.cloned(), kind: HeadKind::Gists(gists) };
        Self { head, body: Body::Owned(body) }
    }

    /// A response with any other content.
    #[must_use]
    pub fn plain(status: u16, plain: PlainHead, body: Body, cors: Option<&Rc<str>>) -> Self {
        let head =
            Head { status, length: Some(body.len()), cors: cors.cloned(), kind: HeadKind::Plain(plain) };
        Self { head, body }
    }

    /// A 204 that allows a browser to send requests of other origins.
    #[must_use]
    pub fn preflight(cors: &Rc<str>) -> Self {
        let head = Head { status: 204, length: None, cors: Some(Rc::clone(cors)), kind: HeadKind::Preflight };
        Self { head, body: Body::Empty }
    }

    /// A 304 for a client that has the page already (RFC 9110, 15.4.5).
    #[must_use]
    pub fn not_modified(gists: GistsHead, cors: Option<&Rc<str>>) -> Self {
        let head = Head { status: 304, length: None, cors: cors.cloned(), kind: HeadKind::Gists(gists) };
        Self { head, body: Body::Empty }
    }
}

impl Head {
    /// The status code of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another response is likely to have an equal head.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match &self.kind {
            HeadKind::Gists(_) | HeadKind::Preflight => true,
            HeadKind::Plain(plain) => plain.extra.is_none(),
        }
    }

    /// A number that equal heads share, for tables. It is of the values that differ most between heads: whoever chooses names and
    /// queries to share a number makes the table slower, not larger.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let length = self.length.unwrap_or_default() as u64;
        match &self.kind {
            HeadKind::Gists(gists) => {
                let (words, _) = gists.etag.as_chunks::<8>();
                let etag = words.iter().fold(0, |mixed, word| mixed ^ u64::from_le_bytes(*word));
                let age = gists.lifetime.map_or(0, |(_, age)| age);
                let target = &gists.links.target;
                let asked = target.user.len() << 16 | target.raw_query.len();
                etag ^ age.rotate_left(40) ^ (asked as u64) ^ length.rotate_left(20)
            }
            HeadKind::Plain(plain) => {
                u64::from(self.status) << 32 | length << 8 | plain.cache_control.len() as u64
            }
            HeadKind::Preflight => 0,
        }
    }

    /// Calls `each` with every header: its name in lower case, and its value.
    pub fn headers(&self, mut each: impl FnMut(&'static str, &str)) {
        let varies = match &self.kind {
            HeadKind::Gists(gists) => {
                if self.length.is_some() {
                    each("content-type", "application/json");
                }
                gists.headers(&mut each);
                true
            }
            HeadKind::Plain(plain) => {
                plain.headers(&mut each);
                plain.varies
            }
            HeadKind::Preflight => {
                PREFLIGHT.iter().for_each(|(name, value)| each(name, value));
                false
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

impl PartialEq for GistsHead {
    fn eq(&self, other: &Self) -> bool {
        u128::from_ne_bytes(self.etag) == u128::from_ne_bytes(other.etag)
            && self.lifetime == other.lifetime
            && self.cache_status == other.cache_status
            && self.links == other.links
    }
}

impl PartialEq for PageLinks {
    fn eq(&self, other: &Self) -> bool {
        self.relations == other.relations
            && (Rc::ptr_eq(&self.target, &other.target) || self.target == other.target)
    }
}

impl GistsHead {
    fn headers(&self, each: &mut impl FnMut(&'static str, &str)) {
        match self.lifetime {
            None => each("cache-control", "no-store"),
            Some((max_age, age)) => {
                each("cache-control", &conditional::cache_control(max_age));
                each("age", &age.to_string());
                each("cdn-cache-control", &conditional::cdn_cache_control(max_age, self.cache_status));
                each("cache-groups", GROUP);
            }
        }
        each("etag", &conditional::etag(self.etag));
        let PageLinks { target, relations } = &self.links;
        let PageTarget { endpoint, username, raw_query, query, .. } = &**target;
        if let Some(link) = link::render(*endpoint, username.as_asked(), raw_query, *query, *relations) {
            each("link", &link);
        }
        each("cache-status", &self.cache_status.to_string());
        each("content-security-policy", NO_CONTENT_POLICY);
    }
}

impl PlainHead {
    fn headers(&self, each: &mut impl FnMut(&'static str, &str)) {
        if !self.content_type.is_empty() {
            each("content-type", self.content_type);
        }
        each("cache-control", &self.cache_control);
        if let Some(cache_status) = self.cache_status {
            each("cache-status", &cache_status.to_string());
            // A remembered 404 depends on the token of the settings, and `DELETE /cache` forgets it.
            each("cdn-cache-control", "no-store");
        }
        if let Some((name, value)) = &self.extra {
            each(name, value);
        }
        each("content-security-policy", self.policy);
    }
}

/// `max-age` and `Age` of an entry, in seconds. A client's cache subtracts the age from the maximum (RFC 9111, 4.2).
#[must_use]
pub fn lifetime(stored_at: Duration, fresh_until: Duration, now: Duration) -> (u64, u64) {
    (fresh_until.saturating_sub(stored_at).as_secs(), now.saturating_sub(stored_at).as_secs())
}

/// The `ttl` of `Cache-Status` (RFC 9211, 2.4): the remaining freshness in seconds, negative if the entry is stale.
#[must_use]
pub fn ttl(fresh_until: Duration, now: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match fresh_until.checked_sub(now) {
        Some(left) => seconds(left),
        // Round away from zero, so that no stale entry has the TTL of a fresh one.
        None => -seconds(now.saturating_sub(fresh_until)).saturating_add(1),
    }
}
