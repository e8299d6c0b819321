//! Why there is no page, in the form that is shared: between requests in memory, between processes in a record.

use std::time::Duration;

use crate::cache::entry;
use crate::github::answer::{Failure, Stored};
use crate::response::conditional::Detail;
use crate::response::error::Error;

/// A failure, and until when it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong.
    pub failure: Failure,
    /// Until when the absence of a user is remembered or the gate is closed, since the epoch; zero for other failures.
    pub until: Duration,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, until: Duration::ZERO }
    }
}

impl Trouble {
    /// The form for a record.
    #[must_use]
    pub fn at(self, at: Duration) -> entry::Failure {
        let (kind, status) = match self.failure {
            Failure::NoSuchUser => (1, 404),
            Failure::RateLimited { .. } => (2, 429),
            Failure::Unauthorized => (3, 401),
            Failure::Gone(status) => (4, status),
            Failure::Unprocessable => (5, 422),
            Failure::Status(status) => (6, status),
            Failure::Invalid => (7, 0),
            Failure::Timeout => (8, 0),
            Failure::Unreachable => (9, 0),
        };
        entry::Failure { at, kind, status, until: self.until }
    }

    /// What a record says; a kind that this version does not know counts as an answer that is none.
    #[must_use]
    pub fn of(failure: &entry::Failure) -> Self {
        let entry::Failure { kind, status, until, .. } = *failure;
        let failure = match kind {
            1 => Failure::NoSuchUser,
            2 => Failure::RateLimited { wait: None },
            3 => Failure::Unauthorized,
            4 => Failure::Gone(status),
            5 => Failure::Unprocessable,
            6 => Failure::Status(status),
            8 => Failure::Timeout,
            9 => Failure::Unreachable,
            _ => Failure::Invalid,
        };
        Self { failure, until }
    }

    /// Whether a stale entry is answered in its place.
    #[must_use]
    pub fn allows_stale(self) -> bool {
        self.failure.stored() == Stored::Serve
    }

    /// Whether the stored entry has to go.
    #[must_use]
    pub fn drops_entry(self) -> bool {
        self.failure.stored() == Stored::Drop
    }

    /// What `Cache-Status` says where a stale entry is answered.
    #[must_use]
    pub fn detail(self) -> Detail {
        match self.failure {
            Failure::RateLimited { .. } => Detail::RateLimited,
            Failure::Timeout => Detail::Timeout,
            Failure::Unauthorized => Detail::Unauthorized,
            _ => Detail::UpstreamError,
        }
    }

    /// The error for a client that asked for `name` at `now`.
    #[must_use]
    pub fn error(self, name: &str, now: Duration) -> Error {
        let left = self.until.saturating_sub(now);
        let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
        self.failure.error(name, Some(seconds), seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Duration = Duration::from_millis(1_800_000_000_123);

    #[test]
    fn each_survives_its_record() {
        for failure in [
            Failure::NoSuchUser,
            Failure::RateLimited { wait: None },
            Failure::Unauthorized,
            Failure::Gone(451),
            Failure::Unprocessable,
            Failure::Status(503),
            Failure::Invalid,
            Failure::Timeout,
            Failure::Unreachable,
        ] {
            let trouble = Trouble { failure, until: AT };
            assert_eq!(Trouble::of(&trouble.at(AT)), trouble);
        }
    }

    #[test]
    fn waits_are_whole_seconds_and_never_none() {
        let retry_after =
            |until| Trouble { failure: Failure::RateLimited { wait: None }, until }.error("x", AT);
        assert_eq!(retry_after(AT + Duration::from_millis(1)), Error::RateLimited { retry_after: 1 });
        assert_eq!(retry_after(AT + Duration::from_millis(1001)), Error::RateLimited { retry_after: 2 });
        assert_eq!(retry_after(Duration::ZERO), Error::RateLimited { retry_after: 1 });
    }

    proptest! {
        #[test]
        fn a_record_of_whatever_origin_is_understood(kind: u8, status: u16, until: u32) {
            let until = Duration::from_secs(until.into());
            let trouble = Trouble::of(&entry::Failure { at: AT, kind, status, until });
            let _ = trouble.error("x", AT);
        }
    }
}
