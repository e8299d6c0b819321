//! Time.

use spin_sdk::wasip3::clocks::monotonic_clock;

/// Waits `ms` milliseconds. Other requests of the instance go on meanwhile.
pub(super) async fn wait(ms: u64) {
    monotonic_clock::wait_for(ms * 1_000_000).await;
}
