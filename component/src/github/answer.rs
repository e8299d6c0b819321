//! The meaning of GitHub's answers: the table "GitHub's answers" of the API's contract.

use std::time::Duration;

use crate::github::http_date;
use crate::github::link::Relations;
use crate::ports::{FetchError, FetchResponse};

/// The longest body, in bytes. A longer one is an error.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// The longest time that the rate-limit gate stays closed, in seconds, whatever GitHub says.
pub const MAX_WAIT: u32 = 3600;
/// How long the gate stays closed after the first rate-limit answer that names no time, in seconds.
pub const FIRST_WAIT: u32 = 60;
/// The longest time that doubling [`FIRST_WAIT`] leads to, in seconds.
pub const MAX_GUESSED_WAIT: u32 = 900;
/// The most that GitHub's `Date` may differ from our clock to count, in seconds. A larger difference is more likely an
/// answer that a proxy kept, or nonsense.
const MAX_CLOCK_DIFFERENCE: u64 = 86_400;
/// How many bytes of an error's body are searched for a rate-limit message.
const MAX_MESSAGE: usize = 64 * 1024;

/// What an answer of GitHub's means for a request for gists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 200: the body is JSON, and should be a list of gists.
    Gists,
    /// 304: the stored page is still current.
    NotModified,
    /// There are no gists, and why.
    Failed(UpstreamFailure),
}

/// Why there is no page from GitHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamFailure {
    /// GitHub knows no such user: 404.
    NoSuchUser,
    /// The primary or a secondary rate limit is reached: 429, or a 403 that says so.
    RateLimited {
        /// Seconds until GitHub may be asked again, 1 to [`MAX_WAIT`]. `None` if GitHub names no time: then
        /// [`guessed_wait`] applies.
        wait: Option<u32>,
    },
    /// GitHub refuses our credential: 401.
    Unauthorized,
    /// The user's gists are unavailable for legal reasons: 451.
    LegalReasons,
    /// GitHub no longer supports the API version that the request named: 410.
    VersionRetired,
    /// GitHub finds the request invalid: 422.
    Unprocessable,
    /// The status has no variant of its own.
    Status(u16),
    /// The answer is not valid HTTP, not a list of gists, or too long.
    Invalid,
    /// There is no answer in time.
    Timeout,
    /// There is no connection to GitHub.
    Unreachable,
}

/// What happens to a stored entry after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredEntry {
    /// It is answered in place of the failure, unless it is too old.
    Serve,
    /// It stays stored, but the failure is answered.
    Keep,
    /// It is removed, and the failure is answered.
    Drop,
}

/// Classifies an answer. `now` is the time since the Unix epoch; dates in the answer are compared with it.
pub fn classify(response: &FetchResponse, now: Duration) -> Answer {
    Answer::Failed(match response.status {
        200 if is_json(response) => return Answer::Gists,
        200 => UpstreamFailure::Invalid,
        304 => return Answer::NotModified,
        401 => UpstreamFailure::Unauthorized,
        404 => UpstreamFailure::NoSuchUser,
        429 => UpstreamFailure::RateLimited { wait: wait(response, now) },
        403 if is_rate_limit(response) => UpstreamFailure::RateLimited { wait: wait(response, now) },
        410 => UpstreamFailure::VersionRetired,
        451 => UpstreamFailure::LegalReasons,
        422 => UpstreamFailure::Unprocessable,
        status => UpstreamFailure::Status(status),
    })
}

impl From<&FetchError> for UpstreamFailure {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::Timeout => Self::Timeout,
            FetchError::Connect(_) => Self::Unreachable,
            FetchError::Protocol(_) | FetchError::BodyTooLarge => Self::Invalid,
        }
    }
}

impl UpstreamFailure {
    /// What happens to a stored entry of the same page.
    pub const fn stored(self) -> StoredEntry {
        match self {
            Self::NoSuchUser | Self::LegalReasons => StoredEntry::Drop,
            Self::Unprocessable => StoredEntry::Keep,
            Self::RateLimited { .. }
            | Self::Unauthorized
            | Self::VersionRetired
            | Self::Status(_)
            | Self::Invalid
            | Self::Timeout
            | Self::Unreachable => StoredEntry::Serve,
        }
    }
}

/// How many seconds to wait after `answers` rate-limit answers in a row that name no time: 60 s after the first, then
/// doubling to 15 min.
pub fn guessed_wait(answers: u32) -> u32 {
    let doublings = answers.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(MAX_GUESSED_WAIT)
}

/// How many requests are left in GitHub's current rate-limit window (`x-ratelimit-remaining`).
pub fn remaining(response: &FetchResponse) -> Option<u64> {
    header(response, "x-ratelimit-remaining")?.parse().ok()
}

/// The primary rate limit, as an answer of any status states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many requests GitHub allows in a window; 0 if the answer does not say it.
    pub limit: u64,
    /// How many requests are left.
    pub remaining: u64,
    /// Seconds until GitHub renews the quota, 1 to [`MAX_WAIT`].
    pub renewed_in: u32,
}

/// The quota that an answer received at `now` (since the Unix epoch) states; `None` if the answer does not state it, or
/// states one that has been renewed since.
pub fn quota(response: &FetchResponse, now: Duration) -> Option<Quota> {
    let renewed_in = bounded(reset(response, now)?);
    let limit = header(response, "x-ratelimit-limit").and_then(seconds).unwrap_or(0);
    Some(Quota { limit, remaining: remaining(response)?, renewed_in })
}

/// The neighbours of the page, from all `Link` fields together.
pub fn relations(response: &FetchResponse) -> Relations {
    values(response, "link").map(Relations::parse).fold(Relations::default(), |all, one| Relations {
        next: all.next || one.next,
        prev: all.prev || one.prev,
    })
}

/// As [`relations`]; `None` if the answer has no link at all. A 200 without a link has no neighbours. A 304 without one
/// says nothing about neighbours.
pub fn stated_relations(response: &FetchResponse) -> Option<Relations> {
    values(response, "link").any(|value| value.starts_with('<')).then(|| relations(response))
}

/// GitHub's `ETag`, if it is a valid entity tag (RFC 9110, 8.8.3).
pub fn validator(response: &FetchResponse) -> Option<&str> {
    let tag = header(response, "etag")?;
    let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    opaque.bytes().all(|b| b == b'!' || (0x23..0x7f).contains(&b)).then_some(tag)
}

/// The first value of the field `name`, without surrounding white space. A value that is not UTF-8 counts as absent.
pub(crate) fn header<'a>(response: &'a FetchResponse, name: &'a str) -> Option<&'a str> {
    values(response, name).next()
}

fn values<'a>(response: &'a FetchResponse, name: &'a str) -> impl Iterator<Item = &'a str> {
    response
        .headers
        .iter()
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        // HTTP's white space (RFC 9110, 5.6.3), not Unicode's.
        .filter_map(|(_, value)| std::str::from_utf8(value).ok().map(|value| value.trim_matches([' ', '\t'])))
}

/// Whether the media type is `application/json` or `application/…+json`, with any parameters.
fn is_json(response: &FetchResponse) -> bool {
    let media_type = header(response, "content-type").unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Whether a 403 is about a rate limit. An answer about the primary limit has `x-ratelimit-remaining: 0`. Most answers
/// about secondary limits have `retry-after`; some have only a message.
fn is_rate_limit(response: &FetchResponse) -> bool {
    header(response, "retry-after").is_some()
        || remaining(response) == Some(0)
        || mentions_rate_limit(&response.body)
}

/// Searches the JSON member `message` if there is one, else the whole text, which may be a page of HTML.
fn mentions_rate_limit(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let body = body.get(..MAX_MESSAGE).unwrap_or(body);
    let mut text = match serde_json::from_slice(body) {
        Ok(Message { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.make_ascii_lowercase();
    ["rate limit", "abuse detection"].iter().any(|phrase| text.contains(phrase))
}

/// Seconds until GitHub may be asked again: `retry-after`, else `x-ratelimit-reset` if no request is left and that time
/// has not passed. If requests are left, the limit is a secondary one, and `x-ratelimit-reset` is about another limit.
fn wait(response: &FetchResponse, now: Duration) -> Option<u32> {
    let named = || {
        let value = header(response, "retry-after")?;
        // A date in the past is GitHub's word, too: it says that the wait is over.
        seconds(value).or_else(|| Some(seconds_until(response, http_date::parse(value)?, now).unwrap_or(0)))
    };
    let wait = named().or_else(|| reset(response, now).filter(|_| remaining(response) == Some(0)))?;
    Some(bounded(wait))
}

/// A wait of `seconds`, at least 1 s and at most [`MAX_WAIT`].
fn bounded(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(MAX_WAIT).clamp(1, MAX_WAIT)
}

/// Seconds until GitHub renews the quota (`x-ratelimit-reset`); `None` if that time has passed.
fn reset(response: &FetchResponse, now: Duration) -> Option<u64> {
    seconds_until(response, seconds(header(response, "x-ratelimit-reset")?)?, now)
}

/// Seconds until the second `time` (since the Unix epoch) is over; `None` if it is over. Within that second, GitHub may
/// still refuse. The answer's own `Date` is the present, because our clock may be minutes off.
fn seconds_until(response: &FetchResponse, time: u64, now: Duration) -> Option<u64> {
    let now = present(response, now);
    time.saturating_add(1).checked_sub(now).filter(|&wait| wait > 0)
}

/// The time by GitHub's clock, in seconds since the Unix epoch: the answer's `Date`, or `now` if it has none that counts.
pub(crate) fn present(response: &FetchResponse, now: Duration) -> u64 {
    let ours = now.as_secs();
    let theirs = header(response, "date").and_then(http_date::parse);
    theirs.filter(|date| date.abs_diff(ours) <= MAX_CLOCK_DIFFERENCE).unwrap_or(ours)
}

/// A number of any length that has only digits; `u64::MAX` if it does not fit.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
