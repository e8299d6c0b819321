//! A checksum against truncation and decay. It does not protect against an attacker.
//!
//! A cryptographic digest of compiled code took one sixth of a start. XXH3 is about as fast as memory
//! (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>).

use std::io::{self, Read};

use xxhash_rust::xxh3::Xxh3;

/// Bytes of a checksum.
pub(super) const BYTES: usize = 16;
/// Bytes that one read asks for.
const PIECE: usize = 64 << 10;

/// The checksum of the next `length` bytes.
///
/// # Errors
/// Reading fails, or `bytes` ends before `length` bytes.
pub(super) fn of(mut bytes: impl Read, length: u64) -> io::Result<[u8; BYTES]> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let want = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let Some(piece) = buffer.get_mut(..want) else { break };
        bytes.read_exact(piece)?;
        hasher.update(piece);
        left -= want as u64;
    }
    Ok(hasher.digest128().to_le_bytes())
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
