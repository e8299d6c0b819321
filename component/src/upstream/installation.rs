//! The token of a GitHub App's installation, which all processes that share a store use together. One process at a time
//! asks GitHub for a token, and the others go on with the one that they have.
//!
//! The store keeps one record for each app and installation: the token, and the last failure to get one. The record is
//! encrypted with a key that follows from the app's private key, so it tells nothing to others who read the store.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::cache::CLOCK_DIFFERENCE;
use crate::cache::entry::FailureRecord;
use crate::crypto::sealing::{NONCE, SealingKey};
use crate::github::answer::{self, UpstreamFailure};
use crate::github::app::{InstallationToken, TokenFailure};
use crate::ports::{Clock, Random, Store, StoreError};
use crate::settings::{GitHubApp, Secret};
use crate::time::millis;
use crate::upstream::failure::PageFailure;

/// The version of the stored form, which is a part of the record's key.
const FORMAT: u8 = 1;
/// The length of the record without the token, in bytes.
const HEAD: usize = 27;
/// How long nobody asks again after GitHub has refused a token, in seconds.
const REFUSED_HOLD: u32 = 60;
/// How long nobody asks again after GitHub was not reached, or did not answer as it should, in seconds.
const UNANSWERED_HOLD: u32 = 10;

/// What is known about the token of an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRecord {
    /// The token; `None` if there is none, or GitHub has refused it.
    pub token: Option<InstallationToken>,
    /// The last failure to get a token, since there was one. Nobody asks until its time has come.
    pub failure: Option<PageFailure>,
}

/// What to do at a moment for want of a token, or with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// Use this token.
    Current(Secret),
    /// Use this token, and ask for the next one.
    Due(Secret),
    /// There is no token, and nobody asks for one now.
    Failed(PageFailure),
    /// Ask for a token.
    Missing,
}

impl TokenRecord {
    /// What to do at `now`, the time since the Unix epoch. A token is renewed after 5/6 of its life.
    #[must_use]
    pub fn state(&self, now: Duration) -> TokenState {
        let longest = Duration::from_secs(answer::MAX_WAIT.into()) + CLOCK_DIFFERENCE;
        let failure = self.failure.filter(|failure| now < failure.until && failure.until <= now + longest);
        let token = self.token.as_ref().filter(|token| now < token.expires_at);
        match (token, failure) {
            (Some(token), failure) => {
                let renew_at = token.issued_at + token.expires_at.saturating_sub(token.issued_at) * 5 / 6;
                let is_current = now < renew_at && token.issued_at <= now + CLOCK_DIFFERENCE;
                let secret = token.secret.clone();
                if is_current || failure.is_some() {
                    TokenState::Current(secret)
                } else {
                    TokenState::Due(secret)
                }
            }
            (None, Some(failure)) => TokenState::Failed(failure),
            (None, None) => TokenState::Missing,
        }
    }

    /// The record after an attempt to get a token that ended at `now`.
    #[must_use]
    pub fn after(self, result: Result<InstallationToken, TokenFailure>, now: Duration) -> Self {
        match result {
            Ok(token) => Self { token: Some(token), failure: None },
            Err(failure) => {
                let failure = match failure {
                    TokenFailure::Key => UpstreamFailure::Unauthorized,
                    TokenFailure::Refused(failure) => failure,
                };
                let hold = match failure {
                    UpstreamFailure::RateLimited { wait } => wait.unwrap_or(answer::FIRST_WAIT),
                    UpstreamFailure::Timeout | UpstreamFailure::Unreachable | UpstreamFailure::Invalid => {
                        UNANSWERED_HOLD
                    }
                    UpstreamFailure::Status(500..) => UNANSWERED_HOLD,
                    _ => REFUSED_HOLD,
                };
                let until = now + Duration::from_secs(hold.into());
                Self { token: self.token, failure: Some(PageFailure { failure, until }) }
            }
        }
    }

    /// The stored form before its encryption.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let token = self.token.as_ref();
        let failure = self.failure.map(|failure| failure.to_record(Duration::ZERO, 0));
        let time = |time: Option<Duration>| millis(time.unwrap_or_default()).to_le_bytes();
        let secret = token.map_or("", |token| token.secret.reveal());
        let mut value = Vec::with_capacity(HEAD + secret.len() + 32);
        value.extend_from_slice(&time(token.map(|token| token.issued_at)));
        value.extend_from_slice(&time(token.map(|token| token.expires_at)));
        value.extend_from_slice(&time(failure.map(|failure| failure.until)));
        value.extend_from_slice(&failure.map_or(0, |failure| failure.status).to_le_bytes());
        value.push(failure.map_or(0, |failure| failure.kind));
        value.extend_from_slice(secret.as_bytes());
        value
    }

    /// Reads the stored form after its decryption.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (head, secret) = value.split_first_chunk::<HEAD>()?;
        let (times, rest) = head.split_first_chunk::<24>()?;
        let (status, rest) = rest.split_first_chunk()?;
        let mut times = times.as_chunks::<8>().0.iter().map(|time| u64::from_le_bytes(*time));
        let mut time = || times.next().map(Duration::from_millis);
        let (issued_at, expires_at, until) = (time()?, time()?, time()?);
        let (status, kind) = (u16::from_le_bytes(*status), *rest.first()?);
        let token = Secret::new(std::str::from_utf8(secret).ok()?);
        let token = token.map(|secret| InstallationToken { secret, issued_at, expires_at });
        let record = FailureRecord { at: Duration::ZERO, kind, status, until, credential: 0 };
        let failure = (kind != 0).then(|| PageFailure::from_record(&record));
        Some(Self { token, failure })
    }
}

/// The record of one installation in a store.
#[derive(Debug)]
pub struct StoredToken {
    key: String,
    sealing: SealingKey,
}

impl StoredToken {
    /// The record of the installation of `app`, whose credential is `credential`.
    #[must_use]
    pub fn new(app: &GitHubApp, credential: u64) -> Self {
        let purpose = format!("gists: installation token v{FORMAT} of {} {}", app.id, app.installation);
        Self { key: format!("app:v{FORMAT}:{credential:x}"), sealing: app.key.derive(&purpose) }
    }

    /// Reads the record; `None` if there is none that this app has written.
    pub async fn read<S: Store>(&self, store: &S) -> Result<Option<TokenRecord>, StoreError> {
        let opened = store.get(&self.key).await?.and_then(|value| self.sealing.open(&self.key, value));
        Ok(opened.as_deref().and_then(TokenRecord::decode))
    }

    /// Writes the record.
    pub async fn write<S: Store>(
        &self,
        random: &impl Random,
        store: &S,
        record: &TokenRecord,
    ) -> Result<(), StoreError> {
        let mut nonce = [0; NONCE];
        for bytes in nonce.chunks_mut(8) {
            bytes.copy_from_slice(random.random().to_le_bytes().get(..bytes.len()).unwrap_or_default());
        }
        match self.sealing.seal(nonce, &self.key, record.encode()) {
            Some(sealed) => store.set(&self.key, &sealed).await,
            None => Ok(()),
        }
    }

    /// Whether the caller may ask GitHub: no other process has claimed that in the present or the previous `period`, which
    /// is longer than an attempt takes. A process that dies blocks the others for at most two periods.
    ///
    /// Returns the key of the claim, to be deleted after the attempt.
    pub async fn claim<S: Store>(
        &self,
        clock: &impl Clock,
        store: &S,
        period: Duration,
    ) -> Result<Option<String>, StoreError> {
        let number = millis(clock.system()) / millis(period).max(1);
        let claim = |number: u64| format!("{}:asking:{number}", self.key);
        let keys = [claim(number), claim(number.saturating_sub(1))];
        if store.get_many(&keys).await?.iter().any(|(_, value)| value.is_some()) {
            return Ok(None);
        }
        let [key, _] = keys;
        Ok((store.increment(&key, 1).await? == 1).then_some(key))
    }
}

/// What one instance knows of its installation's token.
#[derive(Debug, Default)]
pub struct Installation {
    /// The record that the instance has last read or written. If the store has lost the record, this one counts.
    known: RefCell<TokenRecord>,
    /// Whether a task of the instance asks GitHub.
    is_asking: Cell<bool>,
}

/// The right of one task of an instance to ask GitHub for a token. Another task gets it when this one is dropped.
#[derive(Debug)]
pub struct Asking(Rc<Installation>);

impl Installation {
    /// The record that the instance knows.
    #[must_use]
    pub fn known(&self) -> TokenRecord {
        self.known.borrow().clone()
    }

    /// Keeps a record that was read or written.
    pub fn keep(&self, record: TokenRecord) {
        *self.known.borrow_mut() = record;
    }

    /// The right to ask GitHub, unless another task of the instance has it.
    #[must_use]
    pub fn start_asking(self: &Rc<Self>) -> Option<Asking> {
        (!self.is_asking.replace(true)).then(|| Asking(Rc::clone(self)))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.is_asking.set(false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn token(secret: &str) -> InstallationToken {
        let secret = Secret::new(secret).unwrap();
        InstallationToken { secret, issued_at: NOW, expires_at: NOW + Duration::from_secs(3600) }
    }

    #[test]
    fn a_token_is_renewed_after_five_sixths_of_its_life() {
        let record = TokenRecord { token: Some(token("x")), failure: None };
        let secret = || Secret::new("x").unwrap();
        for (seconds, state) in [
            (0, TokenState::Current(secret())),
            (2999, TokenState::Current(secret())),
            (3000, TokenState::Due(secret())),
            (3599, TokenState::Due(secret())),
            (3600, TokenState::Missing),
        ] {
            assert_eq!(record.state(NOW + Duration::from_secs(seconds)), state, "{seconds}");
        }
        // The clock has gone back since.
        assert_eq!(record.state(NOW - Duration::from_secs(301)), TokenState::Due(secret()));
        assert_eq!(TokenRecord::default().state(NOW), TokenState::Missing);
    }

    #[test]
    fn a_failure_is_remembered_for_a_while() {
        for (failure, hold) in [
            (TokenFailure::Key, 60),
            (TokenFailure::Refused(UpstreamFailure::Unauthorized), 60),
            (TokenFailure::Refused(UpstreamFailure::Status(404)), 60),
            (TokenFailure::Refused(UpstreamFailure::Status(503)), 10),
            (TokenFailure::Refused(UpstreamFailure::Timeout), 10),
            (TokenFailure::Refused(UpstreamFailure::Invalid), 10),
            (TokenFailure::Refused(UpstreamFailure::RateLimited { wait: None }), 60),
            (TokenFailure::Refused(UpstreamFailure::RateLimited { wait: Some(900) }), 900),
        ] {
            let record = TokenRecord::default().after(Err(failure), NOW);
            let at = |seconds| record.state(NOW + Duration::from_secs(seconds));
            assert!(matches!(at(hold - 1), TokenState::Failed(_)), "{failure:?}");
            assert_eq!(at(hold), TokenState::Missing, "{failure:?}");
            // The token goes on to be used.
            let record = TokenRecord { token: Some(token("x")), failure: None }.after(Err(failure), NOW);
            assert!(matches!(record.state(NOW), TokenState::Current(_)), "{failure:?}");
            assert_eq!(record.after(Ok(token("y")), NOW).failure, None);
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back(secret in "[!-~]{0,80}", until: u32, status: u16, has_failure: bool) {
            let token = Secret::new(&secret).map(|secret| InstallationToken { secret, ..token("x") });
            let failure = UpstreamFailure::Status(status);
            let failure = PageFailure { failure, until: Duration::from_secs(until.into()) };
            let record = TokenRecord { token, failure: has_failure.then_some(failure) };
            prop_assert_eq!(TokenRecord::decode(&record.encode()), Some(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TokenRecord::decode(&bytes).map(|record| record.state(NOW));
        }
    }
}
