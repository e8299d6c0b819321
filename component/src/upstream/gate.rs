//! The rate-limit gate. While it is closed, nobody asks GitHub: after a rate limit, and after GitHub has refused the
//! credential. When few requests are left, it is closed to pages that are not stored: the rest is kept for revalidation.
//! The gate is a record in the cache's store, so all instances with that store and credential share it.

use std::time::Duration;

use crate::cache::CLOCK_DIFFERENCE;
use crate::github::answer::{self, Quota};
use crate::ports::{Store, StoreError};
use crate::time::millis;

/// How long the gate stays closed after GitHub has refused the credential.
const CREDENTIAL_HOLD: Duration = Duration::from_secs(60);

/// The version of the stored form: a part of every record's key, and the first byte of its value. A record with another
/// byte there counts as missing. The key names the format so that versions with different ones that share a store do not
/// overwrite each other's records.
pub const FORMAT: u8 = 2;

/// What closed the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateReason {
    /// GitHub's rate limit, primary or secondary, or the last request that the primary limit allowed.
    RateLimit {
        /// How many rate-limit answers in a row named no time.
        guesses: u8,
    },
    /// GitHub refused the token: 401.
    Credential,
    /// The reserve of the quota is reached or near.
    Reserve {
        /// How many requests are left above the reserve.
        spare: u8,
    },
}

/// The record of the gate of one credential, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// What closed the gate.
    pub reason: GateReason,
    /// When it was closed, since the Unix epoch.
    pub closed_at: Duration,
    /// Until when it is closed, since the Unix epoch.
    pub until: Duration,
}

impl Gate {
    /// The record of a gate that is open and was not closed before.
    const OPEN: Self = Self {
        reason: GateReason::RateLimit { guesses: 0 },
        closed_at: Duration::ZERO,
        until: Duration::ZERO,
    };

    /// The record after a rate-limit answer at `now`. `wait` is the time that GitHub names, in seconds. `before` is the
    /// record that this one replaces.
    #[must_use]
    pub fn rate_limited(now: Duration, wait: Option<u32>, before: Option<Self>) -> Self {
        let (wait, guesses) = match (wait, before.map(|gate| gate.reason)) {
            (Some(named), _) => (named, 0),
            (None, Some(GateReason::RateLimit { guesses })) => {
                let guesses = guesses.saturating_add(1);
                (answer::guessed_wait(u32::from(guesses)), guesses)
            }
            (None, _) => (answer::guessed_wait(1), 1),
        };
        Self { reason: GateReason::RateLimit { guesses }, closed_at: now, until: after(now, wait) }
    }

    /// The record after an answer at `now` that states `quota`; `None` if there are plenty of requests. `percent` of the
    /// limit, at least one request, are the reserve. At most `in_flight` further requests may be under way.
    #[must_use]
    pub fn of_quota(now: Duration, quota: Quota, percent: u64, in_flight: u32) -> Option<Self> {
        let closed = |reason| Some(Self { reason, closed_at: now, until: after(now, quota.renewed_in) });
        if quota.remaining == 0 {
            return closed(GateReason::RateLimit { guesses: 0 });
        }
        if percent == 0 || quota.limit == 0 {
            return None;
        }
        let reserve = (quota.limit.saturating_mul(percent) / 100).max(1);
        let spare = u8::try_from(quota.remaining.saturating_sub(reserve)).ok()?;
        if u32::from(spare) <= in_flight { closed(GateReason::Reserve { spare }) } else { None }
    }

    /// The record after GitHub refused the credential at `now`.
    #[must_use]
    pub fn credential_refused(now: Duration) -> Self {
        Self { reason: GateReason::Credential, closed_at: now, until: now + CREDENTIAL_HOLD }
    }

    /// Whether the gate is closed at `now` to a request. Nobody knows how many of the `in_flight` other requests GitHub has
    /// counted already, so all of them count against the reserve.
    #[must_use]
    pub fn is_closed_to(&self, now: Duration, is_stored: bool, in_flight: u32) -> bool {
        self.is_closed(now)
            && match self.reason {
                GateReason::RateLimit { .. } | GateReason::Credential => true,
                GateReason::Reserve { spare } => !is_stored && u32::from(spare) <= in_flight,
            }
    }

    /// Whether the record applies at `now`. A time too far in the future comes from a wrong clock, and closes nothing. Nor
    /// does a gate that was closed in the future: the clock has gone back since.
    #[must_use]
    pub fn is_closed(&self, now: Duration) -> bool {
        let is_plausible = self.until <= now + Duration::from_secs(answer::MAX_WAIT.into());
        now < self.until && is_plausible && self.closed_at <= now + CLOCK_DIFFERENCE
    }

    /// Reads the record of `credential`. `None` if there is none, or if it has another format.
    pub async fn read<S: Store>(store: &S, credential: u64) -> Result<Option<Self>, StoreError> {
        let value = store.get(&key(credential)).await?;
        Ok(value.and_then(|value| Self::decode(&value)).filter(|gate| *gate != Self::OPEN))
    }

    /// Replaces `before`, the record of `credential` that was read before a request to GitHub, by `after`, which the answer
    /// demands at `now`; `None` for an answer that closes nothing. A stricter record that another process has written since
    /// stays: GitHub may have answered this request first.
    pub async fn replace<S: Store>(
        store: &S,
        credential: u64,
        before: Option<Self>,
        after: Option<Self>,
        now: Duration,
    ) -> Result<(), StoreError> {
        if before == after {
            return Ok(());
        }
        let key = key(credential);
        let value = store.get(&key).await?;
        let present = value.as_deref().and_then(Self::decode).filter(|gate| Some(*gate) != before);
        let stricter = present.filter(|gate| gate.is_closed(now)).map(Self::strictness);
        if stricter > after.map(Self::strictness) {
            return Ok(());
        }
        // A deletion could remove the record of another process, so an open gate is a record as well.
        match (value, after) {
            // A record that another process has just written stays.
            (Some(value), _) => {
                store.replace(&key, &value, &after.unwrap_or(Self::OPEN).encode()).await?;
            }
            (None, Some(after)) => store.set(&key, &after.encode()).await?,
            (None, None) => {}
        }
        Ok(())
    }

    /// Orders records that apply: the greater one lets fewer requests through, or closes for a longer time.
    fn strictness(self) -> (u8, Duration) {
        match self.reason {
            GateReason::RateLimit { .. } | GateReason::Credential => (u8::MAX, self.until),
            GateReason::Reserve { spare } => (u8::MAX - 1 - spare.min(u8::MAX - 1), self.until),
        }
    }

    fn encode(&self) -> [u8; 19] {
        let mut value = [0; 19];
        let [format, reason, number, times @ ..] = &mut value;
        *format = FORMAT;
        (*reason, *number) = match self.reason {
            GateReason::RateLimit { guesses } => (1, guesses),
            GateReason::Credential => (2, 0),
            GateReason::Reserve { spare } => (3, spare),
        };
        for (bytes, time) in times.chunks_exact_mut(8).zip([self.closed_at, self.until]) {
            bytes.copy_from_slice(&millis(time).to_le_bytes());
        }
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let [FORMAT, reason, number, times @ ..] = value else { return None };
        let reason = match reason {
            1 => GateReason::RateLimit { guesses: *number },
            2 => GateReason::Credential,
            3 => GateReason::Reserve { spare: *number },
            _ => return None,
        };
        let times = <&[u8; 16]>::try_from(times).ok()?.as_chunks::<8>().0;
        let mut times = times.iter().map(|time| Duration::from_millis(u64::from_le_bytes(*time)));
        Some(Self { reason, closed_at: times.next()?, until: times.next()? })
    }
}

/// The time `seconds` after `now`, at most [`answer::MAX_WAIT`].
fn after(now: Duration, seconds: u32) -> Duration {
    now + Duration::from_secs(seconds.min(answer::MAX_WAIT).into())
}

fn key(credential: u64) -> String {
    format!("gate:v{FORMAT}:{credential:x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn closed_for(gate: Gate) -> u64 {
        (gate.until - NOW).as_secs()
    }

    #[test]
    fn the_time_that_github_names_counts_up_to_an_hour() {
        for (told, closed) in [(0, 0), (30, 30), (3600, 3600), (86_400, 3600)] {
            let gate = Gate::rate_limited(NOW, Some(told), None);
            assert_eq!(closed_for(gate), closed);
        }
    }

    #[test]
    fn without_a_time_the_guess_doubles_to_a_quarter_of_an_hour() {
        let mut gate = None;
        let mut guesses = Vec::new();
        for _ in 0..300 {
            gate = Some(Gate::rate_limited(NOW, None, gate));
            guesses.push(gate.map(closed_for).unwrap());
        }
        assert_eq!(guesses[..6], [60, 120, 240, 480, 900, 900]);
        assert_eq!(guesses.last(), Some(&900));
    }

    #[test]
    fn the_reserve_is_a_share_of_the_limit_and_at_least_one_request() {
        let of = |limit, remaining, percent| {
            Gate::of_quota(NOW, Quota { limit, remaining, renewed_in: 900 }, percent, 20)
                .map(|gate| gate.reason)
        };
        let reserve = |spare| Some(GateReason::Reserve { spare });
        for (limit, remaining, percent, expected) in [
            (60, 27, 10, None),
            (60, 26, 10, reserve(20)),
            (60, 7, 10, reserve(1)),
            (60, 6, 10, reserve(0)),
            (60, 1, 10, reserve(0)),
            (60, 0, 10, Some(GateReason::RateLimit { guesses: 0 })),
            (5_000, 521, 10, None),
            (5_000, 520, 10, reserve(20)),
            // A tenth of nine requests is none.
            (9, 2, 10, reserve(1)),
            (60, 1, 0, None),
            (60, 0, 0, Some(GateReason::RateLimit { guesses: 0 })),
            (60, 60, 90, reserve(6)),
            // Without a limit there is nothing to take a share of.
            (0, 5, 10, None),
            (u64::MAX, u64::MAX, 10, None),
        ] {
            assert_eq!(of(limit, remaining, percent), expected, "{limit} {remaining} {percent}");
        }
    }

    #[test]
    fn the_reserve_is_for_stored_pages() {
        let gate = |spare| Gate {
            reason: GateReason::Reserve { spare },
            closed_at: NOW,
            until: NOW + Duration::from_secs(900),
        };
        for (spare, in_flight, closed) in
            [(0, 0, true), (1, 0, false), (1, 1, true), (5, 4, false), (5, 9, true)]
        {
            assert!(!gate(spare).is_closed_to(NOW, true, in_flight));
            assert_eq!(gate(spare).is_closed_to(NOW, false, in_flight), closed, "{spare} {in_flight}");
            assert!(!gate(spare).is_closed_to(NOW + Duration::from_secs(900), false, in_flight));
        }
        assert!(Gate::credential_refused(NOW).is_closed_to(NOW, true, 0));
    }

    #[test]
    fn a_gate_opens_when_its_time_has_come() {
        let gate = Gate::credential_refused(NOW);
        assert!(gate.is_closed(NOW));
        assert!(gate.is_closed(NOW + Duration::from_secs(59)));
        assert!(!gate.is_closed(NOW + Duration::from_secs(60)));
        for back in [301, 1800, 86_400] {
            assert!(!gate.is_closed(NOW - Duration::from_secs(back)), "a clock that was set back opens it");
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back((closed_at, until) in (0u64..1 << 40, 0u64..1 << 40), number: u8) {
            for reason in [
                GateReason::RateLimit { guesses: number },
                GateReason::Credential,
                GateReason::Reserve { spare: number },
            ] {
                let [closed_at, until] = [closed_at, until].map(Duration::from_secs);
                let gate = Gate { reason, closed_at, until };
                prop_assert_eq!(Gate::decode(&gate.encode()), Some(gate));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = Gate::decode(&bytes);
        }
    }
}
