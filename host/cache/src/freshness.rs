//! How old a stored response is, and how long it may be reused (RFC 9111, 4.2).
//!
//! The wall clock is used only when a response arrives, for its apparent age. From then on, a monotonic clock is used. So a
//! step of the wall clock makes no stored response fresher.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::{
    date,
    directives::{Directives, members, seconds},
    targeted::Applicable,
};

/// The longest heuristic lifetime.
const MAX_HEURISTIC: Duration = Duration::from_secs(24 * 3600);

/// The limits of reuse of one response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// How long the response is fresh, from its generation.
    pub lifetime: Duration,
    /// How long after that the response may be reused while a request in the background refreshes it.
    pub stale_while_revalidate: Duration,
    /// How long after the lifetime the response may be reused in place of an error.
    pub stale_if_error: Duration,
    /// Whether each reuse needs a validation: `no-cache`.
    pub always_validates: bool,
    /// Whether a client may accept the response while it is stale.
    pub allows_stale: bool,
}

impl Freshness {
    /// The limits by the directives and the fields of a response. `None`: the response has none, and no lifetime can be
    /// assumed. `may_assume` permits a heuristic lifetime.
    #[must_use]
    pub fn of(
        status: StatusCode,
        headers: &HeaderMap,
        applicable: &Applicable,
        received: SystemTime,
        may_assume: bool,
    ) -> Option<Self> {
        let directives = &applicable.directives;
        let lifetime = explicit(headers, applicable, received)
            .or_else(|| may_assume.then(|| heuristic(status, headers, directives, received)).flatten());
        let lifetime = match lifetime {
            Some(lifetime) => lifetime,
            // It may be stored, and each reuse validates it.
            None if directives.no_cache => Duration::ZERO,
            None => return None,
        };
        // RFC 9111, 4.2.4: these prohibit stale responses, whatever else the response says.
        let is_strict = directives.no_cache
            || directives.must_revalidate
            || directives.proxy_revalidate
            || directives.s_maxage.is_some();
        let window = |seconds: Option<u64>| match seconds {
            Some(seconds) if !is_strict => Duration::from_secs(seconds),
            _ => Duration::ZERO,
        };
        Some(Self {
            lifetime,
            stale_while_revalidate: window(directives.stale_while_revalidate),
            stale_if_error: window(directives.stale_if_error),
            always_validates: directives.no_cache,
            allows_stale: !is_strict,
        })
    }

    /// Whether a response of this age may be reused without asking the component.
    #[must_use]
    pub fn is_fresh(&self, age: Duration) -> bool {
        !self.always_validates && age < self.lifetime
    }

    /// Whether a stale response of this age may be reused while it is refreshed.
    #[must_use]
    pub fn may_refresh_later(&self, age: Duration) -> bool {
        self.allows_stale && age < self.lifetime.saturating_add(self.stale_while_revalidate)
    }

    /// Whether a stale response of this age may be reused in place of an error.
    #[must_use]
    pub fn may_replace_error(&self, age: Duration) -> bool {
        self.allows_stale && age < self.lifetime.saturating_add(self.stale_if_error)
    }
}

/// The lifetime that the response states (RFC 9111, 4.2.1).
fn explicit(headers: &HeaderMap, applicable: &Applicable, received: SystemTime) -> Option<Duration> {
    let directives = &applicable.directives;
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(Duration::from_secs(seconds));
    }
    if applicable.is_targeted {
        return None;
    }
    let expires = headers.get(header::EXPIRES)?;
    // Of several lines, the first counts. A value that is no date means that the response has expired (RFC 9111, 5.3).
    let Some(expires) = date::parse(expires.as_bytes()) else { return Some(Duration::ZERO) };
    let generated = date::field(headers, header::DATE).unwrap_or(received);
    Some(expires.duration_since(generated).unwrap_or_default())
}

/// A tenth of the time since the last modification (RFC 9111, 4.2.2), for statuses that permit it.
fn heuristic(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    received: SystemTime,
) -> Option<Duration> {
    if !is_heuristically_cacheable(status) && !directives.public {
        return None;
    }
    let modified = date::field(headers, header::LAST_MODIFIED)?;
    let generated = date::field(headers, header::DATE).unwrap_or(received);
    Some((generated.duration_since(modified).ok()? / 10).min(MAX_HEURISTIC))
}

/// RFC 9110, 15.1.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The age of a response when it arrives (RFC 9111, 4.2.3). `delay` is the time from the request to the response.
#[must_use]
pub fn initial_age(headers: &HeaderMap, received: SystemTime, delay: Duration) -> Duration {
    let apparent = date::field(headers, header::DATE)
        .and_then(|date| received.duration_since(date).ok())
        .unwrap_or_default();
    apparent.max(stated_age(headers).saturating_add(delay))
}

/// The first value of `Age`, or 0 if that is not valid (RFC 9111, 5.1).
fn stated_age(headers: &HeaderMap) -> Duration {
    let first = headers.get(header::AGE).and_then(|line| members(line.as_bytes()).next());
    Duration::from_secs(first.and_then(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::tests::header_map;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn at(offset: i64) -> String {
        let date = match u64::try_from(offset) {
            Ok(later) => now() + Duration::from_secs(later),
            Err(_) => now() - Duration::from_secs(offset.unsigned_abs()),
        };
        httpdate::fmt_http_date(date)
    }

    fn lifetime(status: u16, lines: &[(&'static str, &str)]) -> Option<u64> {
        let headers = header_map(lines);
        let status = StatusCode::from_u16(status).unwrap();
        Freshness::of(status, &headers, &Applicable::of(&headers), now(), true).map(|f| f.lifetime.as_secs())
    }

    #[test]
    fn the_shared_caches_own_lifetime_counts_first() {
        let (future, past, present) = (at(600), at(-600), at(0));
        for (lines, expected) in [
            (&[("cache-control", "max-age=60")][..], Some(60)),
            (&[("cache-control", "max-age=60, s-maxage=5")], Some(5)),
            (&[("cache-control", "s-maxage=5"), ("expires", &*future)], Some(5)),
            (&[("cache-control", "max-age=60"), ("expires", &*past)], Some(60)),
            (&[("cache-control", "max-age=0"), ("expires", &*future)], Some(0)),
            (&[("expires", &*future), ("date", &*present)], Some(600)),
            (&[("expires", &*future), ("date", "foo")], Some(600)),
            (&[("expires", &*past)], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("cdn-cache-control", "max-age=9"), ("cache-control", "max-age=60")], Some(9)),
            (&[("cdn-cache-control", "public"), ("expires", &*future)], None),
            (&[], None),
            (&[("cache-control", "no-cache")], Some(0)),
        ] {
            assert_eq!(lifetime(200, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_lifetime_is_assumed_only_where_the_standard_allows() {
        let modified = at(-1000);
        let lines = [("last-modified", &*modified)];
        for status in [200, 203, 204, 404, 405, 410, 414, 501] {
            assert_eq!(lifetime(status, &lines), Some(100), "{status}");
        }
        for status in [201, 202, 302, 403, 500, 502, 503, 504, 599] {
            assert_eq!(lifetime(status, &lines), None, "{status}");
        }
        assert_eq!(lifetime(599, &[("last-modified", &*modified), ("cache-control", "public")]), Some(100));
        let (long_ago, later) = (at(-1_000_000_000), at(10));
        assert_eq!(lifetime(200, &[("last-modified", &*long_ago)]), Some(24 * 3600));
        assert_eq!(lifetime(200, &[("last-modified", &*later)]), None);
    }

    #[test]
    fn the_age_is_the_greater_of_what_the_clock_and_the_field_say() {
        let (earlier, later) = (at(-100), at(100));
        for (lines, delay, expected) in [
            (&[][..], 2, 2),
            (&[("date", &*earlier)], 2, 100),
            (&[("date", &*later)], 0, 0),
            (&[("date", &*earlier), ("age", "300")], 2, 302),
            (&[("age", "7200, 0")], 0, 7200),
            (&[("age", "0, 7200")], 0, 0),
            (&[("age", "-7200")], 0, 0),
            (&[("age", "7200.0")], 0, 0),
            (&[("age", "abc")], 0, 0),
            (&[("age", "0"), ("age", "7200")], 0, 0),
            (&[("age", "7200"), ("age", "0")], 0, 7200),
            (&[("age", "99999999999999999999")], 0, 1 << 31),
        ] {
            let age = initial_age(&header_map(lines), now(), SECOND * delay);
            assert_eq!(age.as_secs(), expected, "{lines:?}");
        }
    }

    #[test]
    fn stale_responses_are_reused_only_where_nothing_prohibits_it() {
        let freshness = |control: &str| {
            let headers = header_map(&[("cache-control", control)]);
            Freshness::of(StatusCode::OK, &headers, &Applicable::of(&headers), now(), true).unwrap()
        };
        let open = freshness("max-age=10, stale-while-revalidate=5, stale-if-error=20");
        assert!(open.is_fresh(SECOND * 9) && !open.is_fresh(SECOND * 10));
        assert!(open.may_refresh_later(SECOND * 14) && !open.may_refresh_later(SECOND * 15));
        assert!(open.may_replace_error(SECOND * 29) && !open.may_replace_error(SECOND * 30));
        for strict in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=10"] {
            let control = format!("max-age=10, stale-while-revalidate=5, stale-if-error=20, {strict}");
            let freshness = freshness(&control);
            for age in [0, 10] {
                assert!(!freshness.may_refresh_later(SECOND * age), "{strict} {age}");
                assert!(!freshness.may_replace_error(SECOND * age), "{strict} {age}");
            }
        }
        assert!(!freshness("max-age=10, no-cache").is_fresh(Duration::ZERO));
    }
}
