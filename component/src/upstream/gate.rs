//! The rate-limit gate. While it is closed, nobody asks GitHub: after a rate limit, and after GitHub has refused the
//! credential. When few requests are left, it is closed to pages that are not stored: the rest is kept for revalidation.
//! The gate is a record in the cache's store, so all instances with that store and credential share it.

use std::time::Duration;

use crate::cache::CLOCK_DIFFERENCE;
use crate::github::answer::{self, Quota};
use crate::ports::{Store, StoreError};
use crate::time::millis;

/// How long the gate stays closed after GitHub has refused the credential, in seconds.
const CREDENTIAL_HOLD: u32 = 60;

/// The version of the stored form: a part of every record's key, and the first byte of its value. A record with another
/// byte there counts as missing. The key names the format so that versions with different ones that share a store do not
/// overwrite each other's records.
pub const FORMAT: u8 = 2;

/// How many times [`Gate::update`] tries to write a record that other processes write as well.
const MAX_TRIES: usize = 4;
/// Two answers whose resets differ by less than this are about the same window of the quota, in milliseconds.
const WINDOW_DIFFERENCE: u64 = 60_000;

/// The record of the gate of one credential, as it is stored. Its two parts are independent of each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gate {
    /// What closes the gate to all requests.
    pub closing: Closing,
    /// What closes the gate to requests for pages that are not stored.
    pub reserve: Reserve,
}

/// The part of the record that closes the gate to all requests. The default closes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closing {
    /// What closed the gate.
    pub reason: Reason,
    /// How many rate-limit answers that name no time came without a page or a 404 between them.
    pub guesses: u8,
    /// How long the gate is closed.
    pub period: Period,
}

/// What closes the gate to all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reason {
    /// GitHub's rate limit, primary or secondary, or the last request that the primary limit allowed.
    #[default]
    RateLimit,
    /// GitHub refused the token: 401.
    Credential,
}

/// The part of the record that keeps the rest of the quota for stored pages. The default keeps nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserve {
    /// How many requests are left above the reserve.
    pub spare: u16,
    /// From the answer that named the quota to GitHub's reset.
    pub period: Period,
}

/// From when until when a part of the record applies, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// When the part was written.
    pub since: u64,
    /// When the part ends.
    pub until: u64,
}

impl Period {
    /// `seconds` from `now`, at most [`answer::MAX_WAIT`].
    fn from(now: Duration, seconds: u32) -> Self {
        let since = millis(now);
        Self { since, until: since.saturating_add(1000 * u64::from(seconds.min(answer::MAX_WAIT))) }
    }

    /// Whether the part applies at `now`. A time too far in the future comes from a wrong clock, and closes nothing. Nor
    /// does a part that was written in the future: the clock has gone back since.
    #[must_use]
    #[inline(never)] // for the size of the component
    pub fn contains(self, now: Duration) -> bool {
        let now = millis(now);
        let latest = now.saturating_add(millis(CLOCK_DIFFERENCE));
        let is_plausible = self.until.saturating_sub(latest) <= 1000 * u64::from(answer::MAX_WAIT);
        now < self.until && is_plausible && self.since <= latest
    }

    /// When the part ends, since the Unix epoch.
    #[must_use]
    pub fn end(self) -> Duration {
        Duration::from_millis(self.until)
    }
}

impl Closing {
    /// After a rate-limit answer at `now`. `wait` is the time that GitHub names, in seconds. `guesses` is the number in the
    /// record before the request.
    #[must_use]
    pub fn rate_limited(now: Duration, wait: Option<u32>, guesses: u8) -> Self {
        let guesses = guesses.saturating_add(wait.is_none().into());
        let wait = wait.unwrap_or_else(|| answer::guessed_wait(guesses.into()));
        Self { reason: Reason::RateLimit, guesses, period: Period::from(now, wait) }
    }

    /// After GitHub refused the credential at `now`. `guesses` is the number in the record before the request.
    #[must_use]
    pub fn credential_refused(now: Duration, guesses: u8) -> Self {
        Self { reason: Reason::Credential, guesses, period: Period::from(now, CREDENTIAL_HOLD) }
    }
}

impl Reserve {
    /// After an answer at `now` that states `quota`; the default if there are plenty of requests. `percent` of the limit, at
    /// least one request, are the reserve. At most `in_flight` further requests may be under way.
    #[must_use]
    pub fn of_quota(now: Duration, quota: Quota, percent: u64, in_flight: u32) -> Self {
        let reserve = (quota.limit.saturating_mul(percent) / 100).max(1);
        let spare = quota.remaining.saturating_sub(reserve);
        if percent == 0 || quota.limit == 0 || spare > in_flight.into() {
            return Self::default();
        }
        let spare = u16::try_from(spare).unwrap_or(u16::MAX);
        Self { spare, period: Period::from(now, quota.renewed_in) }
    }

    /// Whether a request at `now` for a page that is not stored would use the reserve. Nobody knows how many of the
    /// `in_flight` other requests GitHub has counted already, so all of them count.
    #[must_use]
    pub fn is_reached(self, now: Duration, in_flight: u32) -> bool {
        self.period.contains(now) && u32::from(self.spare) <= in_flight
    }
}

/// What an answer of GitHub's demands of the gate's record. A part that is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The closing; the default opens the gate.
    pub closing: Option<Closing>,
    /// The reserve; the default ends it.
    pub reserve: Option<Reserve>,
}

impl Gate {
    /// Reads the record of `credential`. A record that is missing or has another format closes nothing.
    pub async fn read<S: Store>(store: &S, credential: u64) -> Result<Self, StoreError> {
        Ok(store.get(&key(credential)).await?.as_deref().map(Self::decode).unwrap_or_default())
    }

    /// Applies `change`, which an answer at `now` demands, to the record of `credential`. `before` is the record that was
    /// read before the request. Other processes may write the record at the same time.
    pub async fn update<S: Store>(
        store: &S,
        credential: u64,
        before: Self,
        change: Change,
        now: Duration,
    ) -> Result<(), StoreError> {
        if before.merge(before, change, now) == before {
            return Ok(());
        }
        let key = key(credential);
        for _ in 0..MAX_TRIES {
            let value = store.get(&key).await?;
            let present = value.as_deref().map(Self::decode).unwrap_or_default();
            let merged = present.merge(before, change, now);
            if merged == present {
                break;
            }
            // A deletion could remove the record of another process, so an open gate is a record as well.
            match value {
                Some(value) => {
                    if store.replace(&key, &value, &merged.encode()).await? {
                        break;
                    }
                }
                // Another process may do the same, so the next round reads the record again.
                None => store.set(&key, &merged.encode()).await?,
            }
        }
        Ok(())
    }

    /// The record after `change`, which an answer at `now` demands. `self` is the present record, and `before` the record
    /// before the request. What another process has written since then stays if it is stricter: GitHub may have answered
    /// this request first.
    #[inline(never)] // for the size of the component
    fn merge(self, before: Self, change: Change, now: Duration) -> Self {
        let closing = change.closing.filter(|new| {
            if *new == Closing::default() {
                self.closing == before.closing
            } else {
                !self.closing.period.contains(now) || self.closing.period.until < new.period.until
            }
        });
        let reserve = change.reserve.filter(|new| {
            let (present, until) = (self.reserve.period, new.period.until);
            if *new == Reserve::default() {
                self.reserve == before.reserve
            } else if !present.contains(now) {
                true
            } else if until.abs_diff(present.until) < WINDOW_DIFFERENCE {
                new.spare < self.reserve.spare
            } else {
                until > present.until
            }
        });
        Self { closing: closing.unwrap_or(self.closing), reserve: reserve.unwrap_or(self.reserve) }
    }

    #[inline(never)] // for the size of the component
    fn encode(self) -> [u8; 37] {
        let Self { closing, reserve } = self;
        let mut value = [0; 37];
        let [format, reason, guesses, low, high, times @ ..] = &mut value;
        *format = FORMAT;
        *reason = (closing.reason == Reason::Credential).into();
        *guesses = closing.guesses;
        [*low, *high] = reserve.spare.to_le_bytes();
        let periods = [closing.period, reserve.period];
        let fields = periods.iter().flat_map(|period| [period.since, period.until]);
        for (bytes, time) in times.chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&time.to_le_bytes());
        }
        value
    }

    /// The default if `value` has another form.
    #[inline(never)] // for the size of the component
    fn decode(value: &[u8]) -> Self {
        let [FORMAT, reason, guesses, low, high, times @ ..] = value else { return Self::default() };
        let Ok(times) = <&[u8; 32]>::try_from(times) else { return Self::default() };
        let mut times = times.as_chunks::<8>().0.iter().map(|time| u64::from_le_bytes(*time));
        let mut time = || times.next().unwrap_or_default();
        let mut period = || Period { since: time(), until: time() };
        let reason = if *reason == 0 { Reason::RateLimit } else { Reason::Credential };
        Self {
            closing: Closing { reason, guesses: *guesses, period: period() },
            reserve: Reserve { spare: u16::from_le_bytes([*low, *high]), period: period() },
        }
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

    fn closed_for(closing: Closing) -> u64 {
        (closing.period.end() - NOW).as_secs()
    }

    fn reserve(spare: u16, seconds: u32) -> Reserve {
        Reserve { spare, period: Period::from(NOW, seconds) }
    }

    #[test]
    fn the_time_that_github_names_counts_up_to_an_hour() {
        for (told, closed) in [(0, 0), (30, 30), (3600, 3600), (86_400, 3600)] {
            let closing = Closing::rate_limited(NOW, Some(told), 2);
            assert_eq!((closed_for(closing), closing.guesses), (closed, 2));
        }
    }

    #[test]
    fn without_a_time_the_guess_doubles_to_a_quarter_of_an_hour() {
        let mut closing = Closing::default();
        let mut guesses = Vec::new();
        for _ in 0..300 {
            closing = Closing::rate_limited(NOW, None, closing.guesses);
            guesses.push(closed_for(closing));
        }
        assert_eq!(guesses[..6], [60, 120, 240, 480, 900, 900]);
        assert_eq!(guesses.last(), Some(&900));
    }

    #[test]
    fn the_reserve_is_a_share_of_the_limit_and_at_least_one_request() {
        let plenty = Reserve::default();
        let some = |spare| reserve(spare, 900);
        for (limit, remaining, percent, in_flight, expected) in [
            (60, 27, 10, 20, plenty),
            (60, 26, 10, 20, some(20)),
            (60, 7, 10, 20, some(1)),
            (60, 6, 10, 20, some(0)),
            (60, 1, 10, 20, some(0)),
            (60, 0, 10, 20, some(0)),
            (5_000, 521, 10, 20, plenty),
            (5_000, 520, 10, 20, some(20)),
            (15_000, 1_800, 10, 500, some(300)),
            (u64::MAX, u64::MAX, 10, u32::MAX, plenty),
            (1 << 40, (1 << 40) / 10 + 70_000, 10, 80_000, some(u16::MAX)),
            // A tenth of nine requests is none.
            (9, 2, 10, 20, some(1)),
            (60, 1, 0, 20, plenty),
            (60, 60, 90, 20, some(6)),
            // Without a limit there is nothing to take a share of.
            (0, 5, 10, 20, plenty),
        ] {
            let quota = Quota { limit, remaining, renewed_in: 900 };
            let reserve = Reserve::of_quota(NOW, quota, percent, in_flight);
            assert_eq!(reserve, expected, "{limit} {remaining} {percent}");
        }
    }

    #[test]
    fn requests_under_way_count_against_the_reserve() {
        for (spare, in_flight, closed) in
            [(0, 0, true), (1, 0, false), (1, 1, true), (5, 4, false), (5, 9, true), (300, 499, true)]
        {
            let reserve = reserve(spare, 900);
            assert_eq!(reserve.is_reached(NOW, in_flight), closed, "{spare} {in_flight}");
            assert!(!reserve.is_reached(NOW + Duration::from_secs(900), in_flight));
        }
    }

    #[test]
    fn a_part_applies_until_its_time_has_come() {
        assert_eq!(closed_for(Closing::credential_refused(NOW, 0)), 60);
        let period = Period::from(NOW, 3600);
        for (at, applies) in [(0, true), (3599, true), (3600, false)] {
            assert_eq!(period.contains(NOW + Duration::from_secs(at)), applies, "{at}");
        }
        // A process whose clock is behind sees an hour's part as well.
        for (back, applies) in [(30, true), (300, true), (301, false), (1800, false), (86_400, false)] {
            assert_eq!(period.contains(NOW - Duration::from_secs(back)), applies, "{back} s ago");
        }
        for (seconds, applies) in [(3900, true), (3901, false)] {
            let since = millis(NOW);
            let period = Period { since, until: since + 1000 * seconds };
            assert_eq!(period.contains(NOW), applies, "{seconds} s");
        }
    }

    #[test]
    fn a_closing_that_another_process_has_written_stays_if_it_is_longer() {
        let closed = |seconds| Closing::rate_limited(NOW, Some(seconds), 0);
        let (none, old) =
            (Closing::default(), Closing::rate_limited(NOW - Duration::from_secs(999), None, 3));
        for (present, before, new, merged) in [
            (old, old, Some(none), none),
            (old, old, None, old),
            (old, old, Some(closed(5)), closed(5)),
            (none, old, Some(closed(5)), closed(5)),
            (closed(600), old, Some(none), closed(600)),
            (closed(600), old, Some(closed(5)), closed(600)),
            (closed(600), old, Some(Closing::credential_refused(NOW, 0)), closed(600)),
            (closed(5), old, Some(closed(600)), closed(600)),
            (none, none, Some(none), none),
        ] {
            let [present, before] = [present, before].map(|closing| {
                let reserve = reserve(0, 2400);
                Gate { closing, reserve }
            });
            let gate = present.merge(before, Change { closing: new, reserve: None }, NOW);
            assert_eq!(gate, Gate { closing: merged, ..present }, "{present:?} {before:?} {new:?}");
        }
    }

    #[test]
    fn the_smallest_reserve_of_the_latest_window_counts() {
        let (none, ended) = (
            Reserve::default(),
            Reserve { spare: 0, period: Period::from(NOW - Duration::from_secs(60), 30) },
        );
        for (present, before, new, merged) in [
            (none, none, reserve(9, 900), reserve(9, 900)),
            (reserve(9, 900), none, reserve(8, 900), reserve(8, 900)),
            (reserve(9, 900), none, reserve(8, 841), reserve(8, 841)),
            (reserve(8, 900), none, reserve(9, 900), reserve(8, 900)),
            (reserve(8, 900), none, reserve(9, 959), reserve(8, 900)),
            (reserve(8, 900), none, reserve(9, 960), reserve(9, 960)),
            (reserve(8, 900), none, reserve(0, 840), reserve(8, 900)),
            (ended, ended, reserve(9, 10), reserve(9, 10)),
            (reserve(8, 900), reserve(8, 900), none, none),
            (reserve(7, 900), reserve(8, 900), none, reserve(7, 900)),
        ] {
            let [present, before] = [present, before].map(|reserve| Gate { reserve, ..Gate::default() });
            let gate = present.merge(before, Change { closing: None, reserve: Some(new) }, NOW);
            assert_eq!(gate, Gate { reserve: merged, ..present }, "{present:?} {before:?} {new:?}");
            assert_eq!(present.merge(before, Change { closing: None, reserve: None }, NOW), present);
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back(times: [u64; 4], guesses: u8, spare: u16) {
            let [a, b, c, d] = times;
            for reason in [Reason::RateLimit, Reason::Credential] {
                let closing = Closing { reason, guesses, period: Period { since: a, until: b } };
                let gate = Gate { closing, reserve: Reserve { spare, period: Period { since: c, until: d } } };
                prop_assert_eq!(Gate::decode(&gate.encode()), gate);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let _ = Gate::decode(&bytes).closing.period.contains(NOW);
        }
    }
}
