//! What clients ask for, and what answers are right.

mod gists;
mod guest;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use e2e::harness::Reply;

pub(crate) use gists::{Gists, Mix, POPULAR, people};
pub(crate) use guest::Guest;

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grade {
    /// As if nothing had happened.
    Right,
    /// Right, but not from the cache, where it should have been.
    Uncached,
    /// Right, and said to be old.
    Stale,
    /// The documented error for what is wrong.
    Refused(u16),
    /// Anything else.
    Wrong(String),
}

/// One request, and what to make of its answer.
pub(crate) struct Task {
    /// Path and query of a GET.
    pub(crate) target: String,
    /// Grades the answer.
    pub(crate) judge: Box<dyn Fn(&Reply) -> Grade + Send + Sync>,
}

/// Where requests come from.
pub(crate) trait Traffic: Send + Sync + 'static {
    /// The next one.
    fn draw(&self, dice: &mut Dice) -> Task;
}

/// Numbers that look random (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// Others than anybody's else.
    pub(crate) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// An answer in so many words, for a report.
pub(crate) fn shown(reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body);
    let body: String = body.chars().take(160).collect();
    format!("{} {body}", reply.status)
}
