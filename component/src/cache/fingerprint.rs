//! A 128-bit hash of an answer, for its entity tag: the same for the same bytes in every process and build.
//!
//! Not cryptographic: whoever could make two answers of one user collide would only keep a copy of their own gists stale.

const LANES: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];
const SEEDS: [u64; 2] = [0x2545_f491_4f6c_dd1d, 0xd6e8_feb8_6659_fd93];

/// Hashes `bytes`.
pub fn of(bytes: &[u8]) -> [u8; 16] {
    let [mut a, mut b] = SEEDS;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let word = u64::from_le_bytes(word);
        a = step(a, word, LANES[0]);
        b = step(b, word.rotate_left(32), LANES[1]);
    }
    // The last chunk is padded with zeros: the length tells it apart from one that ends in them.
    let length = bytes.len() as u64;
    a = finish(a ^ length);
    b = finish(b ^ length.rotate_left(32));
    let (a, b) = (a.wrapping_add(b), finish(b.wrapping_add(a.rotate_left(17))));
    (u128::from(a) << 64 | u128::from(b)).to_be_bytes()
}

/// Multiplication carries upwards, the rotation brings what it carried back down.
fn step(state: u64, word: u64, odd: u64) -> u64 {
    (state ^ word).wrapping_mul(odd).rotate_left(29).wrapping_add(word)
}

/// Spreads every bit over all others.
fn finish(mut state: u64) -> u64 {
    for odd in LANES {
        state = (state ^ (state >> 32)).wrapping_mul(odd);
    }
    state ^ (state >> 29)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::of;

    const EMPTY: u128 = 0x63e2_f576_bae6_fa14_d248_1070_2ffb_cf21;
    const DATA: u128 = 0x6280_f3ea_0675_8b2f_a587_f505_ff06_4f58;

    #[test]
    fn never_changes() {
        // Clients and stores keep these: a change here makes every entity tag new.
        assert_eq!(u128::from_be_bytes(of(b"")), EMPTY);
        assert_eq!(u128::from_be_bytes(of(b"{\"data\":[]}")), DATA);
    }

    #[test]
    fn short_and_similar_texts_differ() {
        let mut seen = HashSet::new();
        for length in 0..64 {
            assert!(seen.insert(of(&vec![0; length])));
            for position in 0..length {
                for bit in 0..8 {
                    let mut text = vec![0; length];
                    text[position] = 1 << bit;
                    assert!(seen.insert(of(&text)), "{length} {position} {bit}");
                }
            }
        }
        for number in 0..20_000_u32 {
            assert!(seen.insert(of(format!("{{\"id\":{number}}}").as_bytes())));
        }
    }

    proptest! {
        /// One bit changed changes about half of all bits, in each half.
        #[test]
        fn every_bit_matters(mut text in proptest::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, bit in 0_u8..8) {
            let before = u128::from_be_bytes(of(&text));
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            let changed = before ^ u128::from_be_bytes(of(&text));
            for half in [changed >> 64, changed & u128::from(u64::MAX)] {
                prop_assert!((6..=58).contains(&half.count_ones()), "{:032x}", changed);
            }
        }
    }
}
