//! The values of the caching headers: `ETag`, `If-None-Match`, `Cache-Control` and `Cache-Status`.

use std::fmt;

use crate::cache::freshness::{STALE_IF_ERROR, STALE_WHILE_REVALIDATE};

/// The weak entity tag (RFC 9110, 8.8.3) of a page whose data have the hash `hash`.
pub fn etag(hash: [u8; 16]) -> String {
    format!("W/\"{:032x}\"", u128::from_be_bytes(hash))
}

/// Whether the value of `If-None-Match` contains `etag`, by weak comparison (RFC 9110, 13.1.2). Parsing ends at the first
/// syntax error.
pub fn if_none_match(header: &str, etag: &str) -> bool {
    let opaque = etag.strip_prefix("W/").unwrap_or(etag);
    let mut rest = header.trim_matches(is_space);
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || is_space(c));
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        let Some(inner) = tag.strip_prefix('"') else { return false };
        let Some(end) = inner.find('"') else { return false };
        let (this, behind) = tag.split_at(end + 2);
        if this == opaque {
            return true;
        }
        rest = behind.trim_start_matches(is_space);
        if !rest.starts_with(',') {
            return false;
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// `Cache-Control` of a page that is fresh for `lifetime` seconds after it was stored. `Age` says how many of them have
/// passed.
pub fn cache_control(lifetime: u64) -> String {
    let (revalidate, error) = (STALE_WHILE_REVALIDATE.as_secs(), STALE_IF_ERROR.as_secs());
    format!("public, max-age={lifetime}, stale-while-revalidate={revalidate}, stale-if-error={error}")
}

/// The group of all pages of gists (RFC 9875), as `Cache-Groups` and `Cache-Group-Invalidation` name it.
pub const GROUP: &str = "\"gists\"";

/// `CDN-Cache-Control` (RFC 9213): `Cache-Control` for shared caches, which answer for this service. They may keep a page
/// for its `lifetime` if it came from the cache. A page that is new says so in its body, and must not be answered again.
pub fn cdn_cache_control(lifetime: u64, status: CacheStatus) -> String {
    match status {
        CacheStatus::Hit { ttl: Some(1..), .. } => format!("max-age={lifetime}"),
        _ => "no-store".to_owned(),
    }
}

/// Why the cache forwarded the request to GitHub: `fwd` (RFC 9211, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The page was not stored: `uri-miss`.
    UriMiss,
    /// The stored page was stale: `stale`.
    Stale,
    /// The client bypassed the cache with `use_cache=false`: `bypass`.
    Bypass,
}

/// Our values of `detail` in `Cache-Status` (RFC 9211, 2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// The entry is refreshed in the background.
    Revalidating,
    /// GitHub's rate limit is reached, and the rate-limit gate is closed.
    RateLimited,
    /// GitHub did not answer in time.
    Timeout,
    /// GitHub cannot be reached, or sent an error or an invalid answer.
    UpstreamError,
    /// GitHub refuses the token in the settings.
    Unauthorized,
}

impl Detail {
    /// The value as the header contains it.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Revalidating => "revalidating",
            Self::RateLimited => "rate-limited",
            Self::Timeout => "timeout",
            Self::UpstreamError => "upstream-error",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// How the cache handled a request. [`fmt::Display`] writes the value of `Cache-Status` (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// The answer comes from the cache.
    Hit {
        /// The remaining freshness in seconds, negative if the entry is stale; `None` for a remembered 404.
        ttl: Option<i64>,
        /// Why the cache answered as it did, if that needs explaining.
        detail: Option<Detail>,
    },
    /// The request was forwarded to GitHub.
    Forward {
        /// Why it was forwarded.
        reason: Forwarded,
        /// GitHub's status, if it differs from the status of the answer.
        status: Option<u16>,
        /// Whether the cache stored the answer.
        stored: bool,
        /// Whether the answer comes from a request to GitHub that another client caused.
        collapsed: bool,
        /// Why the cache answered as it did, if that needs explaining.
        detail: Option<Detail>,
    },
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gists")?;
        let detail = match *self {
            Self::Hit { ttl, detail } => {
                f.write_str("; hit")?;
                if let Some(ttl) = ttl {
                    write!(f, "; ttl={ttl}")?;
                }
                detail
            }
            Self::Forward { reason, status, stored, collapsed, detail } => {
                f.write_str(match reason {
                    Forwarded::UriMiss => "; fwd=uri-miss",
                    Forwarded::Stale => "; fwd=stale",
                    Forwarded::Bypass => "; fwd=bypass",
                })?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                f.write_str(if stored { "; stored" } else { "" })?;
                f.write_str(if collapsed { "; collapsed" } else { "" })?;
                detail
            }
        };
        match detail {
            Some(detail) => write!(f, "; detail={}", detail.token()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CacheStatus, Detail, Forwarded, cache_control, cdn_cache_control, etag, if_none_match};

    const TAG: &str = "W/\"0123456789abcdef0123456789abcdef\"";

    #[test]
    fn a_tag_is_weak_and_has_the_whole_hash() {
        assert_eq!(etag([0; 16]), format!("W/\"{}\"", "0".repeat(32)));
        assert_eq!(etag(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes()), TAG);
    }

    #[test]
    fn compares_weakly() {
        let strong = TAG.strip_prefix("W/").unwrap();
        for header in [
            TAG.to_owned(),
            strong.to_owned(),
            "*".to_owned(),
            " * ".to_owned(),
            format!("\"a\", {TAG}"),
            format!("\"a\",W/\"b,c\",{strong}\t, \"d\""),
            format!(",, {TAG}"),
        ] {
            assert!(if_none_match(&header, TAG), "{header}");
        }
        for header in [
            "",
            ",",
            "\"a\"",
            "0123456789abcdef0123456789abcdef",
            "w/\"0123456789abcdef0123456789abcdef\"",
            "\"0123456789abcdef0123456789abcdef",
            "\"0123456789abcdef0123456789abcde\"",
            "*, *",
            "\"a\"*",
            "\"a\" \"0123456789abcdef0123456789abcdef\"",
        ] {
            assert!(!if_none_match(header, TAG), "{header}");
        }
    }

    #[test]
    fn shared_caches_keep_what_came_from_the_cache_and_is_fresh() {
        let hit = |ttl| CacheStatus::Hit { ttl, detail: None };
        assert_eq!(cdn_cache_control(40, hit(Some(1))), "max-age=40");
        let miss = CacheStatus::Forward {
            reason: Forwarded::UriMiss,
            status: None,
            stored: true,
            collapsed: false,
            detail: None,
        };
        for other in [hit(Some(0)), hit(Some(-3)), hit(None), miss] {
            assert_eq!(cdn_cache_control(40, other), "no-store", "{other}");
        }
    }

    #[test]
    fn cache_status_has_the_forms_of_the_contract() {
        use CacheStatus::Hit;
        use Forwarded::{Bypass, Stale, UriMiss};
        let forward = |reason, status, stored, collapsed, detail| CacheStatus::Forward {
            reason,
            status,
            stored,
            collapsed,
            detail,
        };
        let revalidating = Some(Detail::Revalidating);
        let rate_limited = Some(Detail::RateLimited);
        for (status, expected) in [
            (Hit { ttl: Some(12), detail: None }, "gists; hit; ttl=12"),
            (Hit { ttl: Some(-3), detail: revalidating }, "gists; hit; ttl=-3; detail=revalidating"),
            (Hit { ttl: None, detail: None }, "gists; hit"),
            (forward(UriMiss, None, true, false, None), "gists; fwd=uri-miss; stored"),
            (forward(Stale, Some(304), true, false, None), "gists; fwd=stale; fwd-status=304; stored"),
            (forward(UriMiss, None, false, true, None), "gists; fwd=uri-miss; collapsed"),
            (forward(Bypass, None, true, false, None), "gists; fwd=bypass; stored"),
            (forward(UriMiss, None, false, false, rate_limited), "gists; fwd=uri-miss; detail=rate-limited"),
        ] {
            assert_eq!(status.to_string(), expected);
        }
        assert_eq!(
            cache_control(287),
            "public, max-age=287, stale-while-revalidate=60, stale-if-error=86400"
        );
    }

    proptest! {
        #[test]
        fn a_tag_is_found_in_any_list(
            before in proptest::collection::vec("(W/)?\"[!#-~]{0,8}\"", 0..4),
            after in proptest::collection::vec("(W/)?\"[!#-~]{0,8}\"", 0..4),
            hash: [u8; 16],
            named: bool,
        ) {
            let tag = etag(hash);
            let ours = named.then(|| tag.clone());
            let list: Vec<_> = before.into_iter().chain(ours).chain(after).collect();
            prop_assert_eq!(if_none_match(&list.join(", "), &tag), named);
        }

        #[test]
        fn any_header_is_read(header in "(W/|\"|,| |\\*|\\PC){0,20}") {
            let _ = if_none_match(&header, TAG);
        }
    }
}
