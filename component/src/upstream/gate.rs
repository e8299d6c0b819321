//! The rate-limit gate. While it is closed, nobody asks GitHub: after a rate limit, and after GitHub has refused the
//! credential. The gate is a record in the cache's store, so all instances with that store and credential share it.

use std::time::Duration;

use crate::github::answer;
use crate::ports::{Store, StoreError};
use crate::time::millis;

/// How long the gate stays closed after GitHub has refused the credential.
const CREDENTIAL_HOLD: Duration = Duration::from_secs(60);

/// The version of the stored form: a part of every record's key, and the first byte of its value. A record with another
/// byte there counts as missing. The key names the format so that versions with different ones that share a store do not
/// overwrite each other's records.
pub const FORMAT: u8 = 1;

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
    /// Until when it is closed, since the Unix epoch.
    pub until: Duration,
    /// How many rate-limit answers in a row named no time.
    guesses: u8,
}

impl Gate {
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
        Self { reason: GateReason::RateLimit, until: now + closed_for, guesses }
    }

    /// The record after GitHub refused the credential at `now`.
    #[must_use]
    pub fn credential_refused(now: Duration) -> Self {
        Self { reason: GateReason::Credential, until: now + CREDENTIAL_HOLD, guesses: 0 }
    }

    /// Whether the gate is closed at `now`. A time too far in the future comes from a wrong clock, and closes nothing.
    #[must_use]
    pub fn is_closed(&self, now: Duration) -> bool {
        now < self.until && self.until <= now + Duration::from_secs(answer::MAX_WAIT.into())
    }

    /// Reads the record of `credential`. `None` if there is none, or if it has another format.
    pub async fn read<S: Store>(store: &S, credential: u64) -> Result<Option<Self>, StoreError> {
        Ok(store.get(&key(credential)).await?.and_then(|value| Self::decode(&value)))
    }

    /// Writes this record for `credential`. All instances that share the store see it with their next read.
    pub async fn write<S: Store>(&self, store: &S, credential: u64) -> Result<(), StoreError> {
        store.set(&key(credential), &self.encode()).await
    }

    /// Removes the record of `credential`. The next guessed time starts at its minimum again.
    pub async fn clear<S: Store>(store: &S, credential: u64) -> Result<(), StoreError> {
        store.delete(&key(credential)).await
    }

    fn encode(&self) -> [u8; 11] {
        let mut value = [0; 11];
        let [format, reason, guesses, until @ ..] = &mut value;
        *format = FORMAT;
        *reason = match self.reason {
            GateReason::RateLimit => 1,
            GateReason::Credential => 2,
        };
        *guesses = self.guesses;
        *until = millis(self.until).to_le_bytes();
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let [FORMAT, reason, guesses, until @ ..] = value else { return None };
        let reason = match reason {
            1 => GateReason::RateLimit,
            2 => GateReason::Credential,
            _ => return None,
        };
        let until = Duration::from_millis(u64::from_le_bytes(until.try_into().ok()?));
        Some(Self { reason, until, guesses: *guesses })
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
        assert!(!gate.is_closed(NOW - Duration::from_secs(86_400)), "a clock that was set back opens it");
    }

    proptest! {
        #[test]
        fn a_record_comes_back(seconds in 0u64..1 << 40, guesses: u8, refused: bool) {
            let reason = if refused { GateReason::Credential } else { GateReason::RateLimit };
            let gate = Gate { reason, until: Duration::from_secs(seconds), guesses };
            prop_assert_eq!(Gate::decode(&gate.encode()), Some(gate));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = Gate::decode(&bytes);
        }
    }
}
