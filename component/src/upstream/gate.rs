//! The rate-limit gate. While it is closed, nobody asks GitHub: after a rate limit, and after GitHub has refused the
//! credential. The gate is a record in the cache's store, so all instances with that store and credential share it.

use std::time::Duration;

use crate::cache::CLOCK_DIFFERENCE;
use crate::github::answer;
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
    /// GitHub's rate limit, primary or secondary.
    RateLimit,
    /// GitHub refused the token: 401.
    Credential,
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
    /// How many rate-limit answers in a row named no time.
    guesses: u8,
}

impl Gate {
    /// The record of a gate that is open and was not closed before.
    const OPEN: Self =
        Self { reason: GateReason::RateLimit, closed_at: Duration::ZERO, until: Duration::ZERO, guesses: 0 };

    /// The record after a rate-limit answer at `now`. `wait` is the time that GitHub names, in seconds. `before` is the
    /// record that this one replaces.
    #[must_use]
    pub fn rate_limited(now: Duration, wait: Option<u32>, before: Option<Self>) -> Self {
        let so_far =
            before.filter(|gate| gate.reason == GateReason::RateLimit).map_or(0, |gate| gate.guesses);
        let (wait, guesses) = match wait {
            Some(named) => (named, 0),
            None => {
                let guesses = so_far.saturating_add(1);
                (answer::guessed_wait(u32::from(guesses)), guesses)
            }
        };
        let closed_for = Duration::from_secs(wait.min(answer::MAX_WAIT).into());
        Self { reason: GateReason::RateLimit, closed_at: now, until: now + closed_for, guesses }
    }

    /// The record after GitHub refused the credential at `now`.
    #[must_use]
    pub fn credential_refused(now: Duration) -> Self {
        Self { reason: GateReason::Credential, closed_at: now, until: now + CREDENTIAL_HOLD, guesses: 0 }
    }

    /// Whether the gate is closed at `now`. A time too far in the future comes from a wrong clock, and closes nothing. Nor
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
    /// demands at `now`; `None` for an answer that closes nothing. If another process has closed the gate since and
    /// keeps it closed for longer, its record stays: the request may have been answered before the other one.
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
        let present = value.as_deref().and_then(Self::decode);
        let is_closed_since = present.is_some_and(|gate| Some(gate) != before && gate.is_closed(now));
        if is_closed_since && present.is_some_and(|gate| after.is_none_or(|after| after.until < gate.until)) {
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

    fn encode(&self) -> [u8; 19] {
        let mut value = [0; 19];
        let [format, reason, guesses, times @ ..] = &mut value;
        *format = FORMAT;
        *reason = match self.reason {
            GateReason::RateLimit => 1,
            GateReason::Credential => 2,
        };
        *guesses = self.guesses;
        for (bytes, time) in times.chunks_exact_mut(8).zip([self.closed_at, self.until]) {
            bytes.copy_from_slice(&millis(time).to_le_bytes());
        }
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let [FORMAT, reason, guesses, times @ ..] = value else { return None };
        let reason = match reason {
            1 => GateReason::RateLimit,
            2 => GateReason::Credential,
            _ => return None,
        };
        let times = <&[u8; 16]>::try_from(times).ok()?.as_chunks::<8>().0;
        let mut times = times.iter().map(|time| Duration::from_millis(u64::from_le_bytes(*time)));
        Some(Self { reason, closed_at: times.next()?, until: times.next()?, guesses: *guesses })
    }
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
        fn a_record_comes_back(
            (closed_at, until) in (0u64..1 << 40, 0u64..1 << 40),
            guesses: u8,
            refused: bool,
        ) {
            let reason = if refused { GateReason::Credential } else { GateReason::RateLimit };
            let [closed_at, until] = [closed_at, until].map(Duration::from_secs);
            let gate = Gate { reason, closed_at, until, guesses };
            prop_assert_eq!(Gate::decode(&gate.encode()), Some(gate));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = Gate::decode(&bytes);
        }
    }
}
