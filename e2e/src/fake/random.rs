//! Numbers for generated data.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// With this seed, the first gist of the demonstration has a description and one file: README.md shows that gist.
const SEED: u64 = 5;

/// A sequence of numbers that depends only on a text, whatever the case of its letters: XXH3 of the numbers 0, 1, 2 and so on,
/// with XXH3 of the text as the seed. The values are part of the documentation, so they must not depend on the version
/// of Rust or of a crate.
pub(super) struct Random {
    seed: u64,
    count: u64,
}

impl Random {
    pub(super) fn new(text: &str) -> Self {
        Self { seed: xxh3_64_with_seed(text.to_ascii_lowercase().as_bytes(), SEED), count: 0 }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        let number = xxh3_64_with_seed(&self.count.to_le_bytes(), self.seed);
        self.count += 1;
        number
    }

    /// The next number, reduced to less than `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An element of a table that is not empty.
    pub(super) fn pick<T>(&mut self, table: &'static [T]) -> &'static T {
        #[expect(clippy::indexing_slicing, reason = "below the length of a table that is not empty")]
        #[expect(clippy::cast_possible_truncation, reason = "below a length")]
        &table[self.below(table.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first value is in the specification of XXH3.
    #[test]
    fn the_numbers_never_change() {
        assert_eq!(xxh3_64_with_seed(b"", 0), 0x2d06_8005_38d3_94c2);
        let mut random = Random::new("octocat");
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [0x0dbc_01ce_86a1_d2a8, 0xb99e_77b4_a469_8941, 0x9a91_0d16_5b64_88a9]
        );
        assert_eq!(Random::new("OctoCat").next(), Random::new("octocat").next());
        assert_ne!(Random::new("hubot").next(), Random::new("octocat").next());
    }
}
