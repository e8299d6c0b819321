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
