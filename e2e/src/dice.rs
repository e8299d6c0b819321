//! Numbers that look random (SplitMix64).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A row of them.
pub struct Dice(u64);

impl Dice {
    /// Those that depend on a seed alone, letters' case aside.
    #[must_use]
    pub fn of(seed: &str) -> Self {
        // FNV-1a; the standard library's hasher may differ from release to release.
        let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash)
    }

    /// Others than anybody else's.
    #[must_use]
    pub fn unlike_others() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// The next one.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next one below `bound`; 0 where nothing is.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// One of a table that is never empty.
    pub fn pick<T>(&mut self, from: &'static [T]) -> &'static T {
        let index = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "below the length of a table that is never empty")]
        &from[index]
    }
}
