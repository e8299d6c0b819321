//! The gate before GitHub, shared by all who share the store and the credential: closed after a rate limit, and for a
//! credential that GitHub refused.

use std::time::Duration;

use crate::cache::entry::millis;
use crate::github::answer;
use crate::ports::{Store, StoreError};

/// How long nobody asks with a credential that was refused.
const CREDENTIAL_HOLD: Duration = Duration::from_secs(60);

const FORMAT: u8 = 1;

/// Why a gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// GitHub's rate limit, primary or secondary.
    RateLimit,
    /// GitHub answered 401 to our token.
    Credential,
}

/// A gate's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Why it was closed.
    pub reason: Reason,
    /// Until when, since the epoch.
    pub until: Duration,
    /// How many rate limits without a time there have been in a row.
    guesses: u8,
}

impl Gate {
    /// The gate's record after a rate limit at `now`; `wait` is GitHub's word on when to come back, in seconds, and
    /// `before` the record so far.
    #[must_use]
    pub fn rate_limited(now: Duration, wait: Option<u32>, before: Option<Self>) -> Self {
        let so_far = before.filter(|gate| gate.reason == Reason::RateLimit).map_or(0, |gate| gate.guesses);
        let (wait, guesses) = match wait {
            Some(told) => (told, 0),
            None => {
                let guesses = so_far.saturating_add(1);
                (answer::guessed_wait(u32::from(guesses)), guesses)
            }
        };
        let closed_for = Duration::from_secs(wait.min(answer::MAX_WAIT).into());
        Self { reason: Reason::RateLimit, until: now + closed_for, guesses }
    }

    /// The gate's record after GitHub refused the credential.
    #[must_use]
    pub fn credential_refused(now: Duration) -> Self {
        Self { reason: Reason::Credential, until: now + CREDENTIAL_HOLD, guesses: 0 }
    }

    /// Whether nobody may ask at `now`. A record from the far future is a clock gone wrong, and closes nothing.
    #[must_use]
    pub fn is_closed(&self, now: Duration) -> bool {
        now < self.until && self.until <= now + Duration::from_secs(answer::MAX_WAIT.into())
    }

    /// The record of `credential`.
    pub async fn read<S: Store>(store: &S, credential: u64) -> Result<Option<Self>, StoreError> {
        Ok(store.get(&key(credential)).await?.and_then(|value| Self::decode(&value)))
    }

    /// Writes the record of `credential`.
    pub async fn write<S: Store>(&self, store: &S, credential: u64) -> Result<(), StoreError> {
        store.set(&key(credential), &self.encode()).await
    }

    /// Forgets the record of `credential`, and with it the doubling.
    pub async fn clear<S: Store>(store: &S, credential: u64) -> Result<(), StoreError> {
        store.delete(&key(credential)).await
    }

    fn encode(&self) -> [u8; 11] {
        let mut value = [0; 11];
        let [format, reason, guesses, until @ ..] = &mut value;
        *format = FORMAT;
        *reason = match self.reason {
            Reason::RateLimit => 1,
            Reason::Credential => 2,
        };
        *guesses = self.guesses;
        *until = millis(self.until).to_le_bytes();
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let [FORMAT, reason, guesses, until @ ..] = value else { return None };
        let reason = match reason {
            1 => Reason::RateLimit,
            2 => Reason::Credential,
            _ => return None,
        };
        let until = Duration::from_millis(u64::from_le_bytes(until.try_into().ok()?));
        Some(Self { reason, until, guesses: *guesses })
    }
}

fn key(credential: u64) -> String {
    format!("gate:{credential:x}")
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
    fn github_s_word_counts_up_to_an_hour() {
        for (told, closed) in [(0, 0), (30, 30), (3600, 3600), (86_400, 3600)] {
            let gate = Gate::rate_limited(NOW, Some(told), None);
            assert_eq!(closed_for(gate), closed);
        }
    }

    #[test]
    fn without_a_word_the_guess_doubles_to_a_quarter_of_an_hour() {
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
            let reason = if refused { Reason::Credential } else { Reason::RateLimit };
            let gate = Gate { reason, until: Duration::from_secs(seconds), guesses };
            prop_assert_eq!(Gate::decode(&gate.encode()), Some(gate));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = Gate::decode(&bytes);
        }
    }
}
