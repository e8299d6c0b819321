//! What a stored entry may be used for at its age (RFC 9111, 4.2; RFC 5861).

use std::time::Duration;

/// How long after its TTL an entry is answered at once while one request refreshes it in the background (RFC 5861, 3).
pub const STALE_WHILE_REVALIDATE: Duration = Duration::from_secs(60);
/// How long after its TTL an entry is answered if GitHub fails (RFC 5861, 4).
pub const STALE_IF_ERROR: Duration = Duration::from_secs(86_400);
/// The jitter of TTLs, in thousandths of the TTL. With jitter, entries that were stored together do not expire together.
const JITTER_PERMILLE: u64 = 100;

/// How a stored entry may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// It is answered without asking GitHub.
    Fresh,
    /// It is answered, and refreshed in the background.
    StaleWhileRevalidate,
    /// GitHub is asked first; if that fails, the entry is answered.
    StaleIfError,
    /// It is too old to be answered. Its validator may still save a transfer.
    Expired,
}

impl Freshness {
    /// The use at `now` of an entry that is fresh until `fresh_until`, both since the Unix epoch.
    #[must_use]
    pub fn at(now: Duration, fresh_until: Duration) -> Self {
        match now.checked_sub(fresh_until) {
            None => Self::Fresh,
            Some(late) if late < STALE_WHILE_REVALIDATE => Self::StaleWhileRevalidate,
            Some(late) if late < STALE_IF_ERROR => Self::StaleIfError,
            Some(_) => Self::Expired,
        }
    }
}

/// `ttl` with a jitter of ±10 %, chosen by `random`. The result is at least one second, unless `ttl` is shorter.
#[must_use]
pub fn jittered(ttl: Duration, random: u64) -> Duration {
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / JITTER_PERMILLE);
    let spread = millis / 1000 * JITTER_PERMILLE + millis % 1000 * JITTER_PERMILLE / 1000;
    let jittered = millis - spread + random % (2 * spread + 1);
    Duration::from_millis(jittered.max(millis.min(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_passes_through_the_states_in_order() {
        let until = Duration::from_secs(1000);
        let at = |seconds| Freshness::at(Duration::from_secs(seconds), until);
        assert_eq!(at(0), Freshness::Fresh);
        assert_eq!(at(999), Freshness::Fresh);
        assert_eq!(at(1000), Freshness::StaleWhileRevalidate);
        assert_eq!(at(1059), Freshness::StaleWhileRevalidate);
        assert_eq!(at(1060), Freshness::StaleIfError);
        assert_eq!(at(1000 + 86_399), Freshness::StaleIfError);
        assert_eq!(at(1000 + 86_400), Freshness::Expired);
    }

    proptest! {
        #[test]
        fn states_never_go_back(until in 0u64..1 << 40, a in 0u64..1 << 41, b in 0u64..1 << 41) {
            let at = |now| Freshness::at(Duration::from_millis(now), Duration::from_millis(until));
            prop_assert!(at(a.min(b)) <= at(a.max(b)));
        }

        #[test]
        fn jitter_stays_within_a_tenth(ttl in 1u64..1 << 40, random: u64) {
            let ttl = Duration::from_millis(ttl);
            let jittered = jittered(ttl, random);
            if ttl >= Duration::from_secs(2) {
                prop_assert!(jittered.as_millis() * 10 >= ttl.as_millis() * 9);
            }
            prop_assert!(jittered.as_millis() * 10 <= ttl.as_millis() * 11);
        }
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let ttl = Duration::from_secs(300);
        let all: Vec<_> = (0..=60_000).map(|random| jittered(ttl, random)).collect();
        assert_eq!(all.iter().min(), Some(&Duration::from_secs(270)));
        assert_eq!(all.iter().max(), Some(&Duration::from_secs(330)));
    }
}
