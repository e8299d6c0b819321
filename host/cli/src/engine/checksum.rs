//! Whether bytes are those that were written: against truncation and decay, not against anybody.
//!
//! A cryptographic digest of compiled code took a sixth of a start. Here each step is invertible, so that no change
//! within one word goes unseen, and four lanes read memory about as fast as it comes.

use std::io::{self, Read};

/// Bytes of a checksum.
pub(super) const BYTES: usize = 32;
/// Bytes that are read at once: a multiple of a step's.
const PIECE: usize = 64 << 10;
/// Odd, with bits everywhere.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The checksum of the next `length` bytes.
///
/// # Errors
/// As the reader, also when there are fewer.
pub(super) fn of(mut bytes: impl Read, length: u64) -> io::Result<[u8; BYTES]> {
    let mut lanes = [length, 1, 2, 3];
    let mut buffer = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let want = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let Some(piece) = buffer.get_mut(..want) else { break };
        bytes.read_exact(piece)?;
        let (blocks, rest) = piece.as_chunks::<BYTES>();
        for block in blocks {
            step(&mut lanes, block);
        }
        if !rest.is_empty() {
            let mut last = [0; BYTES];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            step(&mut lanes, &last);
        }
        left -= want as u64;
    }
    let mut sum = [0; BYTES];
    for (to, lane) in sum.as_chunks_mut::<8>().0.iter_mut().zip(lanes) {
        *to = lane.to_le_bytes();
    }
    Ok(sum)
}

fn step(lanes: &mut [u64; 4], block: &[u8; BYTES]) {
    for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(31);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_byte_and_no_other_length_goes_unseen() {
        let bytes: Vec<u8> = (0..2 * PIECE + 77).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let sum = of(&*bytes, bytes.len() as u64).unwrap();
        assert_eq!(sum, of(&*bytes, bytes.len() as u64).unwrap());
        for at in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            assert_ne!(sum, of(&*other, other.len() as u64).unwrap(), "byte {at}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_ne!(sum, of(&*longer, longer.len() as u64).unwrap());
        assert!(of(&*bytes, longer.len() as u64).is_err(), "there are fewer");
    }
}
