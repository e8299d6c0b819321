//! Tests of the cache as a whole, with clocks that the tests set.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::*;

mod bounds;
mod collapsing;
mod invalidation;
mod reuse;
mod stale;
mod storing;

const MIB: usize = 1 << 20;

type Fields<'a> = &'a [(&'a str, &'a str)];

/// A cache with one component, and its two clocks.
struct Bench {
    cache: Arc<Cache>,
    space: Arc<Space>,
    now: Instant,
    wall: SystemTime,
}

/// What a client gets.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// A response of the cache: its status and its body.
    Cached(u16, String),
    /// The component's response.
    Forwarded,
    /// A 504.
    NotCached,
}

fn cached(body: &str) -> Got {
    Got::Cached(200, body.to_owned())
}

/// The lines as headers. Modules' own tests use it, too.
pub(crate) fn header_map(lines: Fields<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { capacity: MIB, request_directives: false, set_cookie: false };
        change(&mut settings);
        let cache = Cache::new(settings);
        let space = cache.space("component");
        let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self { cache, space, now: Instant::now(), wall }
    }

    /// Both clocks go on.
    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.wall += Duration::from_secs(seconds);
    }

    /// The date this many seconds from now.
    fn date(&self, offset: i64) -> String {
        let distance = Duration::from_secs(offset.unsigned_abs());
        httpdate::fmt_http_date(if offset < 0 { self.wall - distance } else { self.wall + distance })
    }

    fn ask_as(&self, method: &str, path: &str, request: &HeaderMap, turn: Turn) -> Ask {
        let method = method.parse().unwrap();
        let asked = Asked {
            method: &method,
            https: false,
            authority: "x",
            path,
            headers: request,
            is_authenticated: false,
            has_body: false,
        };
        self.space.ask(&asked, self.now, turn)
    }

    fn ask(&self, path: &str, request: Fields<'_>) -> Ask {
        self.ask_as("GET", path, &header_map(request), Turn::First)
    }

    /// The request that goes to the component.
    fn fetch(&self, path: &str, request: Fields<'_>) -> Box<Fetch> {
        self.fetch_as("GET", path, request)
    }

    fn fetch_as(&self, method: &str, path: &str, request: Fields<'_>) -> Box<Fetch> {
        match self.ask_as(method, path, &header_map(request), Turn::First) {
            Ask::Fetch(fetch) => fetch,
            _ => panic!("{method} {path} does not go to the component"),
        }
    }

    /// The component answers a request with this response.
    fn receive(&self, fetch: Box<Fetch>, status: u16, response: Fields<'_>, body: &str) -> Got {
        let status = StatusCode::from_u16(status).unwrap();
        match fetch.received(status, &mut header_map(response), self.now, self.wall) {
            Received::Pass => Got::Forwarded,
            Received::Fill(filling) => {
                filling.whole(body.as_bytes());
                Got::Forwarded
            }
            Received::Answer(answer, _) => got(&answer),
        }
    }

    /// A request. If it goes to the component, the component gives this response.
    fn exchange(
        &self,
        (method, path, request): (&str, &str, Fields<'_>),
        (status, response, body): (u16, Fields<'_>, &str),
    ) -> Got {
        match self.ask_as(method, path, &header_map(request), Turn::First) {
            Ask::Answer(answer, _) => got(&answer),
            Ask::Refresh(answer, fetch) => {
                self.receive(fetch, status, response, body);
                got(&answer)
            }
            Ask::Fetch(fetch) => self.receive(fetch, status, response, body),
            Ask::OnlyIfCached => Got::NotCached,
            Ask::Wait(_) => panic!("{method} {path} waits"),
        }
    }

    /// A `GET` whose response, from the component, has these fields and this body.
    fn get(&self, path: &str, response: Fields<'_>, body: &str) -> Got {
        self.exchange(("GET", path, &[]), (200, response, body))
    }

    /// What the cache has for a `GET` with these fields.
    fn has_for(&self, path: &str, request: Fields<'_>) -> Option<String> {
        match self.ask(path, request) {
            Ask::Answer(answer, _) => Some(String::from_utf8(answer.body.to_vec()).unwrap()),
            _ => None,
        }
    }

    fn has(&self, path: &str) -> Option<String> {
        self.has_for(path, &[])
    }

    /// The fields of the cache's response.
    fn headers(&self, path: &str, request: Fields<'_>) -> HeaderMap {
        match self.ask(path, request) {
            Ask::Answer(answer, _) => answer.headers,
            _ => panic!("{path} is not cached"),
        }
    }
}

fn got(answer: &Answer) -> Got {
    Got::Cached(answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
}

/// The field's value, or `-`.
fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("-", |value| value.to_str().unwrap())
}
