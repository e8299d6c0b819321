//! Bounded waiting for what a test wants to see. A test never sleeps for a guessed time.

use std::time::{Duration, Instant};

/// How long anything may take before a test calls it a hang. No step of a test takes as long on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The pause between two checks.
pub(crate) const PAUSE: Duration = Duration::from_millis(15);

/// Calls `look` again and again until it returns `Some`, at most for [`DEADLINE`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    #[expect(clippy::panic, reason = "how a test reports a hang")]
    tokio::time::timeout(DEADLINE, looking)
        .await
        .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// The blocking form of [`until`].
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, PAUSE, what, || look().ok_or_else(|| "not yet".to_owned()))
}

/// Calls `look` every `pause` until it returns `Ok`, at most for `limit`; a failure tells the last error.
#[track_caller]
#[expect(clippy::panic, reason = "how a test reports a hang")]
pub fn eventually_within<T>(
    limit: Duration,
    pause: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) if started.elapsed() > limit => panic!("not within {limit:?}: {what}: {reason}"),
            Err(_) => std::thread::sleep(pause),
        }
    }
}
