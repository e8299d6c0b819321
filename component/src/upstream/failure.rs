//! Why there is no page, in the form that requests share: in memory within an instance, in a record across processes.

use std::time::Duration;

use crate::cache::entry::FailureRecord;
use crate::github::answer::{StoredEntry, UpstreamFailure};
use crate::response::conditional::Detail;
use crate::response::error::Error;

/// A failure, and until when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFailure {
    /// Why GitHub sent no page.
    pub failure: UpstreamFailure,
    /// Until when the absence of the user is remembered or the rate-limit gate is closed, since the Unix epoch. Zero for
    /// all other failures.
    pub until: Duration,
}

impl From<UpstreamFailure> for PageFailure {
    fn from(failure: UpstreamFailure) -> Self {
        Self { failure, until: Duration::ZERO }
    }
}

impl PageFailure {
    /// The failure as a part of a record, dated `at` (since the Unix epoch), of a request with `credential`.
    #[must_use]
    pub fn to_record(self, at: Duration, credential: u64) -> FailureRecord {
        let (kind, status) = match self.failure {
            UpstreamFailure::NoSuchUser => (1, 404),
            UpstreamFailure::RateLimited { .. } => (2, 429),
            UpstreamFailure::Unauthorized => (3, 401),
            UpstreamFailure::LegalReasons => (4, 451),
            UpstreamFailure::Unprocessable => (5, 422),
            UpstreamFailure::Status(status) => (6, status),
            UpstreamFailure::Invalid => (7, 0),
            UpstreamFailure::Timeout => (8, 0),
            UpstreamFailure::Unreachable => (9, 0),
            UpstreamFailure::VersionRetired => (10, 410),
        };
        FailureRecord { at, kind, status, until: self.until, credential }
    }

    /// The failure in a record. A kind that this version does not know counts as [`UpstreamFailure::Invalid`].
    #[must_use]
    pub fn from_record(record: &FailureRecord) -> Self {
        let FailureRecord { kind, status, until, .. } = *record;
        let failure = match kind {
            1 => UpstreamFailure::NoSuchUser,
            2 => UpstreamFailure::RateLimited { wait: None },
            3 => UpstreamFailure::Unauthorized,
            4 => UpstreamFailure::LegalReasons,
            5 => UpstreamFailure::Unprocessable,
            6 => UpstreamFailure::Status(status),
            8 => UpstreamFailure::Timeout,
            9 => UpstreamFailure::Unreachable,
            10 => UpstreamFailure::VersionRetired,
            _ => UpstreamFailure::Invalid,
        };
        Self { failure, until }
    }

    /// Whether a stale entry is answered in place of the failure (stale-if-error).
    #[must_use]
    pub fn allows_stale(self) -> bool {
        self.failure.stored() == StoredEntry::Serve
    }

    /// Whether the stored entry must be removed.
    #[must_use]
    pub fn drops_entry(self) -> bool {
        self.failure.stored() == StoredEntry::Drop
    }

    /// The `detail` of `Cache-Status` if a stale entry is answered.
    #[must_use]
    pub fn detail(self) -> Detail {
        match self.failure {
            UpstreamFailure::RateLimited { .. } => Detail::RateLimited,
            UpstreamFailure::Timeout => Detail::Timeout,
            UpstreamFailure::Unauthorized => Detail::Unauthorized,
            _ => Detail::UpstreamError,
        }
    }

    /// The error for a client that asked for `name` at `now` (since the Unix epoch).
    #[must_use]
    pub fn error(self, name: &str, now: Duration) -> Error {
        match self.failure {
            UpstreamFailure::NoSuchUser => {
                Error::UserNotFound { name: name.to_owned(), max_age: Some(self.seconds_left(now)) }
            }
            UpstreamFailure::RateLimited { .. } => Error::RateLimited { retry_after: self.seconds_left(now) },
            UpstreamFailure::Unauthorized => Error::UpstreamStatus(401),
            UpstreamFailure::LegalReasons => Error::UpstreamStatus(451),
            UpstreamFailure::VersionRetired => Error::UpstreamStatus(410),
            UpstreamFailure::Status(status) => Error::UpstreamStatus(status),
            UpstreamFailure::Unprocessable => Error::UpstreamStatus(422),
            UpstreamFailure::Invalid => Error::UpstreamInvalid,
            UpstreamFailure::Timeout => Error::UpstreamTimeout,
            UpstreamFailure::Unreachable => Error::UpstreamUnreachable,
        }
    }

    /// Seconds until the failure no longer applies, rounded up, at least 1.
    fn seconds_left(self, now: Duration) -> u32 {
        let left = self.until.saturating_sub(now);
        let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
        u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Duration = Duration::from_millis(1_800_000_000_123);
    const ALL: [UpstreamFailure; 10] = [
        UpstreamFailure::NoSuchUser,
        UpstreamFailure::RateLimited { wait: None },
        UpstreamFailure::Unauthorized,
        UpstreamFailure::LegalReasons,
        UpstreamFailure::VersionRetired,
        UpstreamFailure::Unprocessable,
        UpstreamFailure::Status(503),
        UpstreamFailure::Invalid,
        UpstreamFailure::Timeout,
        UpstreamFailure::Unreachable,
    ];

    #[test]
    fn each_survives_its_record() {
        for failure in ALL {
            let failure = PageFailure { failure, until: AT };
            assert_eq!(PageFailure::from_record(&failure.to_record(AT, 7)), failure);
        }
    }

    #[test]
    fn what_the_client_hears() {
        let user_not_found = Error::UserNotFound { name: "x".to_owned(), max_age: Some(9) };
        let expected = [
            user_not_found,
            Error::RateLimited { retry_after: 9 },
            Error::UpstreamStatus(401),
            Error::UpstreamStatus(451),
            Error::UpstreamStatus(410),
            Error::UpstreamStatus(422),
            Error::UpstreamStatus(503),
            Error::UpstreamInvalid,
            Error::UpstreamTimeout,
            Error::UpstreamUnreachable,
        ];
        for (failure, error) in ALL.into_iter().zip(expected) {
            let failure = PageFailure { failure, until: AT + Duration::from_secs(9) };
            assert_eq!(failure.error("x", AT), error);
        }
    }

    #[test]
    fn waits_are_whole_seconds_and_never_none() {
        let retry_after = |until| {
            PageFailure { failure: UpstreamFailure::RateLimited { wait: None }, until }.error("x", AT)
        };
        assert_eq!(retry_after(AT + Duration::from_millis(1)), Error::RateLimited { retry_after: 1 });
        assert_eq!(retry_after(AT + Duration::from_millis(1001)), Error::RateLimited { retry_after: 2 });
        assert_eq!(retry_after(Duration::ZERO), Error::RateLimited { retry_after: 1 });
    }

    proptest! {
        #[test]
        fn a_record_of_whatever_origin_is_understood(kind: u8, status: u16, until: u32) {
            let until = Duration::from_secs(until.into());
            let record = FailureRecord { at: AT, kind, status, until, credential: 7 };
            let failure = PageFailure::from_record(&record);
            let status = failure.error("x", AT).appearance().status;
            prop_assert!([404, 422, 429, 502, 504].contains(&status));
        }
    }
}
