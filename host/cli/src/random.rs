//! Numbers that are unique, not secret: for the identities of requests and traces.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
};

/// 128 bits of a generator that each thread seeds for itself.
pub(crate) fn unique() -> [u64; 2] {
    thread_local! {
        static STATE: Cell<[u64; 2]> = Cell::new([RandomState::new().hash_one(0), RandomState::new().hash_one(1) | 1]);
    }
    STATE.with(|state| {
        let [a, b] = state.get();
        // xoroshiro128+'s step (Blackman and Vigna, https://prng.di.unimi.it).
        let mixed = a ^ b;
        state.set([a.rotate_left(24) ^ mixed ^ (mixed << 16), mixed.rotate_left(37)]);
        [a.wrapping_add(b), a.rotate_left(32) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
    })
}
