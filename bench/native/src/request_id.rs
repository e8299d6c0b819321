//! Chooses the value of `X-Request-Id` as the host does: the client's, if it is valid, or a new one.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer value of the client is replaced.
const MAX_BYTES: usize = 128;

pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let is_valid = |id: &&HeaderValue| {
        (1..=MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(X_REQUEST_ID).filter(is_valid).cloned().unwrap_or_else(fresh)
}

/// Returns a unique value. It is not secret.
fn fresh() -> HeaderValue {
    thread_local! {
        static STATE: Cell<u128> = Cell::new(
            u128::from(RandomState::new().hash_one(0)) << 64 | u128::from(RandomState::new().hash_one(1)),
        );
    }
    // A linear congruential generator with PCG's 128-bit multiplier. Each thread has its own sequence.
    let id = STATE.get().wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
    STATE.set(id);
    HeaderValue::try_from(format!("{id:032x}")).unwrap_or_else(|_| HeaderValue::from_static("0"))
}
