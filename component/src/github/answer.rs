//! What an answer of GitHub's means: the table "Talking to GitHub" of the contract.

use std::time::Duration;

use crate::github::http_date;
use crate::ports::{FetchError, Fetched};
use crate::response::error::Error;
use crate::response::link::Relations;

/// Bytes of a body that are read at most; a larger one is an error.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// Seconds that a gate stays closed at most, whatever GitHub says.
pub const MAX_WAIT: u32 = 3600;
/// Seconds that the gate stays closed after the first rate-limit answer that does not say how long.
pub const FIRST_WAIT: u32 = 60;
/// Seconds that doubling [`FIRST_WAIT`] leads to at most.
pub const MAX_GUESSED_WAIT: u32 = 900;
/// Bytes of an error's body that are searched for what it says.
const MAX_MESSAGE: usize = 64 * 1024;

/// What GitHub said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The body has gists.
    Gists,
    /// The stored body is still right.
    NotModified,
    /// Anything else.
    Failed(Failure),
}

/// Why there are no gists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// GitHub has no such user.
    NoSuchUser,
    /// The rate limit, primary or secondary, is reached.
    RateLimited {
        /// Seconds until it is worth asking again, 1 to [`MAX_WAIT`]; `None` where GitHub does not say: see [`guessed_wait`].
        wait: Option<u32>,
    },
    /// GitHub refuses our credential.
    Unauthorized,
    /// The user's gists are gone for good: 410, 451.
    Gone(u16),
    /// GitHub finds the question itself invalid: 422.
    Unprocessable,
    /// Any other status that is not a 200.
    Status(u16),
    /// The answer is not what it should be.
    Invalid,
    /// No answer in time.
    Timeout,
    /// No connection.
    Unreachable,
}

/// What becomes of a stored entry when GitHub failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    /// It is the answer, as long as it is not too old.
    Serve,
    /// It stays, but the failure is the answer.
    Keep,
    /// It goes, and the failure is the answer.
    Drop,
}

/// Reads an answer. `now` is the time since the Unix epoch, which dates are compared with.
pub fn classify(fetched: &Fetched, now: Duration) -> Answer {
    Answer::Failed(match fetched.status {
        200 if is_json(fetched) => return Answer::Gists,
        200 => Failure::Invalid,
        304 => return Answer::NotModified,
        401 => Failure::Unauthorized,
        404 => Failure::NoSuchUser,
        429 => Failure::RateLimited { wait: wait(fetched, now) },
        403 if is_rate_limit(fetched) => Failure::RateLimited { wait: wait(fetched, now) },
        status @ (410 | 451) => Failure::Gone(status),
        422 => Failure::Unprocessable,
        status => Failure::Status(status),
    })
}

impl From<&FetchError> for Failure {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::Timeout => Self::Timeout,
            FetchError::Connect(_) => Self::Unreachable,
            FetchError::Protocol(_) | FetchError::BodyTooLarge => Self::Invalid,
        }
    }
}

impl Failure {
    /// What becomes of a stored entry.
    pub const fn stored(self) -> Stored {
        match self {
            Self::NoSuchUser | Self::Gone(_) => Stored::Drop,
            Self::Unprocessable => Stored::Keep,
            Self::RateLimited { .. }
            | Self::Unauthorized
            | Self::Status(_)
            | Self::Invalid
            | Self::Timeout
            | Self::Unreachable => Stored::Serve,
        }
    }

    /// What the client hears where no stored entry is served. `name` is the user's as asked; `remembered` says for how many
    /// seconds the absence of a user is; `retry_after` after how many seconds the gate opens.
    pub fn error(self, name: &str, remembered: Option<u32>, retry_after: u32) -> Error {
        match self {
            Self::NoSuchUser => Error::UserNotFound { name: name.to_owned(), max_age: remembered },
            Self::RateLimited { .. } => Error::RateLimited { retry_after },
            Self::Unauthorized => Error::UpstreamStatus(401),
            Self::Gone(status) | Self::Status(status) => Error::UpstreamStatus(status),
            Self::Unprocessable => Error::UpstreamStatus(422),
            Self::Invalid => Error::UpstreamInvalid,
            Self::Timeout => Error::UpstreamTimeout,
            Self::Unreachable => Error::UpstreamUnreachable,
        }
    }
}

/// Seconds to wait after so many rate-limit answers in a row (the first is 1) that do not say how long: 60 s, doubling to 15 min.
pub fn guessed_wait(answers: u32) -> u32 {
    let doublings = answers.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(MAX_GUESSED_WAIT)
}

/// GitHub's `x-ratelimit-remaining`.
pub fn remaining(fetched: &Fetched) -> Option<u64> {
    header(fetched, "x-ratelimit-remaining")?.parse().ok()
}

/// The neighbours of the page, by GitHub's `Link` fields.
pub fn relations(fetched: &Fetched) -> Relations {
    values(fetched, "link").map(Relations::parse).fold(Relations::default(), |all, one| Relations {
        next: all.next || one.next,
        prev: all.prev || one.prev,
    })
}

/// GitHub's validator for this body, if it has the form of one.
pub fn validator(fetched: &Fetched) -> Option<&str> {
    let tag = header(fetched, "etag")?;
    let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    opaque.bytes().all(|b| b == b'!' || (0x23..0x7f).contains(&b)).then_some(tag)
}

/// A header's first value, without surrounding white space; one that is no UTF-8 counts as absent.
pub(crate) fn header<'a>(fetched: &'a Fetched, name: &'a str) -> Option<&'a str> {
    values(fetched, name).next()
}

fn values<'a>(fetched: &'a Fetched, name: &'a str) -> impl Iterator<Item = &'a str> {
    fetched
        .headers
        .iter()
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        // What is white space to HTTP (RFC 9110, 5.6.3), and no other that Unicode knows.
        .filter_map(|(_, value)| std::str::from_utf8(value).ok().map(|value| value.trim_matches([' ', '\t'])))
}

/// `application/json` or another `application/…+json`, whatever its parameters.
fn is_json(fetched: &Fetched) -> bool {
    let media_type = header(fetched, "content-type").unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Whether a 403 is about a rate limit. The primary one has `x-ratelimit-remaining: 0`; the secondary ones mostly
/// `retry-after`, and sometimes only a message.
fn is_rate_limit(fetched: &Fetched) -> bool {
    header(fetched, "retry-after").is_some()
        || remaining(fetched) == Some(0)
        || speaks_of_rate_limit(&fetched.body)
}

/// Looks into the `message` where the body has one, else, say in a page of HTML, anywhere.
fn speaks_of_rate_limit(body: &[u8]) -> bool {
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

/// Seconds until GitHub says that it may be asked again: `retry-after`, else `x-ratelimit-reset` if that is to come.
fn wait(fetched: &Fetched, now: Duration) -> Option<u32> {
    let now = now.as_secs();
    let retry_after = header(fetched, "retry-after").and_then(|value| match seconds(value) {
        Some(seconds) => Some(seconds),
        None => http_date::parse(value).map(|date| date.saturating_sub(now)),
    });
    let reset =
        || header(fetched, "x-ratelimit-reset").and_then(seconds)?.checked_sub(now).filter(|&wait| wait > 0);
    let wait = retry_after.or_else(reset)?;
    Some(u32::try_from(wait).unwrap_or(MAX_WAIT).clamp(1, MAX_WAIT))
}

/// Digits alone, however many: beyond `u64` it is the greatest.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
