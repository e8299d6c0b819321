//! Requests to the gists API: cached users, new users, and requests that do not need GitHub.

use std::sync::atomic::{AtomicU64, Ordering};

use e2e::fake::{User, Users};
use fastrand::Rng;
use serde_json::{Value, json};
use testkit::http::Response;

use super::{Grade, Traffic, TrafficRequest, shown};

/// The number of users whose first page is in the cache.
pub(crate) const POPULAR: u64 = 8;
/// The number of users that are requested once for each page size: each request is a miss.
const NEWCOMERS: u64 = 400;
const PAGE_SIZES: u64 = 100;
const GISTS: usize = 6;

/// The shares of the kinds of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    /// Requests for cached users.
    pub(crate) hits: u64,
    /// Requests for users that are not in the cache.
    pub(crate) misses: u64,
    /// Requests for `/health`.
    pub(crate) health: u64,
    /// Requests for users that do not exist.
    pub(crate) absent: u64,
    /// Requests with invalid parameters.
    pub(crate) invalid: u64,
}

impl Mix {
    /// All kinds.
    pub(crate) const ALL: Self = Self { hits: 60, misses: 12, health: 16, absent: 6, invalid: 6 };
    /// Kinds that do not need GitHub.
    pub(crate) const CACHED: Self = Self { hits: 70, misses: 0, health: 20, absent: 0, invalid: 10 };
}

/// Traffic with this mix.
pub(crate) struct Gists {
    mix: Mix,
    /// The misses so far. Each miss has another user or page size.
    next: AtomicU64,
    /// Whether new users recur, and are in the cache then.
    recurring: bool,
}

impl Gists {
    /// Traffic in which each miss is a miss.
    pub(crate) fn new(mix: Mix) -> Self {
        Self { mix, next: AtomicU64::new(0), recurring: false }
    }

    /// Traffic in which new users recur, so that the cache stops growing.
    pub(crate) fn recurring(mix: Mix) -> Self {
        Self { recurring: true, ..Self::new(mix) }
    }
}

/// All users that this traffic requests.
pub(crate) fn people() -> Users {
    let mut people = Users::default();
    (0..POPULAR).map(popular).chain((0..NEWCOMERS).map(newcomer)).for_each(|name| people.add(user(&name)));
    people
}

/// A user as the fake GitHub has it.
pub(crate) fn user(login: &str) -> User {
    User::generate(login, GISTS, 0)
}

fn popular(number: u64) -> String {
    format!("popular-{number}")
}

fn newcomer(number: u64) -> String {
    format!("newcomer-{number}")
}

impl Traffic for Gists {
    fn draw(&self, random: &mut Rng) -> TrafficRequest {
        let Mix { hits, misses, health, absent, invalid } = self.mix;
        let mut draw = random.u64(..hits + misses + health + absent + invalid);
        let mut falls = |share: u64| {
            let within = draw < share;
            draw = draw.saturating_sub(share);
            within
        };
        if falls(hits) {
            let login = popular(random.u64(..POPULAR));
            TrafficRequest { target: format!("/{login}"), check: page(login, 30, true) }
        } else if falls(misses) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (login, size) = if self.recurring {
                (newcomer(number % NEWCOMERS), PAGE_SIZES)
            } else {
                (newcomer(number % NEWCOMERS), 1 + number / NEWCOMERS % PAGE_SIZES)
            };
            let target = format!("/users/{login}/gists?per_page={size}");
            TrafficRequest { target, check: page(login, usize::try_from(size).unwrap_or(1), false) }
        } else if falls(health) {
            exact("/health", 200, json!({ "status": "healthy", "service": "github-gists-api" }))
        } else if falls(absent) {
            let login = format!("nobody-{}", random.u64(..3));
            exact(&format!("/{login}"), 404, json!({ "detail": format!("User '{login}' not found") }))
        } else {
            let message = "Input should be greater than or equal to 1";
            let error = json!({ "type": "greater_than_equal", "loc": ["query", "page"], "msg": message, "input": "0", "ctx": { "ge": 1 } });
            exact("/popular-0?page=0", 422, json!({ "detail": [error] }))
        }
    }
}

/// Checks a page of the user's gists: the right gists in the right order.
fn page(login: String, size: usize, cached: bool) -> Box<dyn Fn(&Response) -> Grade + Send + Sync> {
    Box::new(move |reply| {
        if reply.status != 200 {
            return refused(reply);
        }
        let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else {
            return Grade::Wrong(format!("not JSON: {}", shown(reply)));
        };
        let ids = |body: &Value| -> Option<Vec<String>> {
            let gists = body.get("data")?.as_array()?.iter();
            gists.map(|gist| Some(gist.get("id")?.as_str()?.to_owned())).collect()
        };
        let expected = user(&login).gists.into_iter().take(size).map(|gist| gist.id).collect();
        if ids(&body) != Some(expected) {
            return Grade::Wrong(format!("not the gists of {login}: {}", shown(reply)));
        }
        // Behind the host's response cache, the host adds a member of its own.
        let mut status = reply.headers.iter().filter(|(name, _)| name == "cache-status");
        match body.pointer("/cache/hit").and_then(Value::as_bool) {
            Some(true) if status.any(|(_, member)| member.contains("ttl=-")) => Grade::Stale,
            Some(false) if cached => Grade::Uncached,
            Some(_) => Grade::Right,
            None => Grade::Wrong(format!("no member `cache`: {}", shown(reply))),
        }
    })
}

/// Grades an error: a documented one has a documented detail.
fn refused(reply: &Response) -> Grade {
    let detail = serde_json::from_slice::<Value>(&reply.body).ok();
    let detail = detail.as_ref().and_then(|body| body.get("detail")?.as_str()).unwrap_or_default();
    let documented = match reply.status {
        429 => detail == "GitHub API rate limit exceeded. Please try again later.",
        502 => {
            detail == "GitHub is unreachable"
                || detail == "GitHub sent an invalid response"
                || detail.starts_with("GitHub error: ")
        }
        // The host's own error at overload.
        503 => reply.header("retry-after").is_some() && !detail.is_empty(),
        504 => detail == "GitHub API timeout",
        _ => false,
    };
    if documented { Grade::Refused(reply.status) } else { Grade::Wrong(shown(reply)) }
}

fn exact(target: &str, status: u16, body: Value) -> TrafficRequest {
    let check = move |reply: &Response| {
        let same = serde_json::from_slice::<Value>(&reply.body).is_ok_and(|found| found == body);
        match reply.status {
            found if found == status && same => Grade::Right,
            429 | 502 | 503 | 504 => refused(reply),
            _ => Grade::Wrong(shown(reply)),
        }
    };
    TrafficRequest { target: target.to_owned(), check: Box::new(check) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Response {
        Response { status, headers: Vec::new(), body: body.as_bytes().to_vec(), complete: true }
    }

    fn listed(login: &str, hit: bool) -> String {
        let ids: Vec<_> = user(login).gists.iter().map(|gist| json!({ "id": gist.id })).collect();
        json!({ "data": ids, "cache": { "hit": hit } }).to_string()
    }

    #[test]
    fn another_s_gists_or_too_few_of_them_are_wrong() {
        let check = page(popular(1), 30, true);
        assert_eq!(check(&reply(200, &listed("popular-1", true))), Grade::Right);
        assert_eq!(check(&reply(200, &listed("popular-1", false))), Grade::Uncached);
        assert!(matches!(check(&reply(200, &listed("popular-2", true))), Grade::Wrong(_)));
        assert!(matches!(
            page(popular(1), 3, true)(&reply(200, &listed("popular-1", true))),
            Grade::Wrong(_)
        ));
        assert!(matches!(check(&reply(200, "{\"data\":[")), Grade::Wrong(_)));
    }

    #[test]
    fn errors_are_documented_to_the_word() {
        let check = page(popular(1), 30, true);
        assert_eq!(check(&reply(504, r#"{"detail":"GitHub API timeout"}"#)), Grade::Refused(504));
        for (status, body) in [
            (504, r#"{"detail":"timed out"}"#),
            (500, r#"{"detail":"GitHub API timeout"}"#),
            (503, r#"{"detail":"later"}"#),
            (502, ""),
        ] {
            assert!(matches!(check(&reply(status, body)), Grade::Wrong(_)), "{status} {body}");
        }
    }
}
