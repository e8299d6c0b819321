//! Encryption of what a store keeps for processes that have the same key: ChaCha20-Poly1305 (RFC 8439) with a key that
//! HKDF-SHA256 (RFC 5869) derives from a secret.

use std::fmt;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;

/// The length of a nonce, in bytes.
pub const NONCE: usize = 12;

/// A key for encryption. Its `Debug` form hides it.
#[derive(Clone)]
pub struct SealingKey([u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl SealingKey {
    /// The key for `purpose` that follows from `secret`.
    pub(super) fn derive(secret: &[u8], purpose: &str) -> Self {
        let mut key = [0; 32];
        // HKDF refuses only outputs longer than 255 hashes.
        let _ = Hkdf::<Sha256>::new(None, secret).expand(purpose.as_bytes(), &mut key);
        Self(key)
    }

    /// Encrypts `message`. `context` is not encrypted, and opening needs the same one. `nonce` must be new for each
    /// message: random numbers are, as a key seals far fewer than 2^32 messages.
    #[must_use]
    pub fn seal(&self, nonce: [u8; NONCE], context: &str, message: Vec<u8>) -> Option<Vec<u8>> {
        let mut sealed = message;
        self.cipher().encrypt_in_place(&nonce.into(), context.as_bytes(), &mut sealed).ok()?;
        sealed.extend_from_slice(&nonce);
        Some(sealed)
    }

    /// Decrypts what [`SealingKey::seal`] returned; `None` if the value, the key or the context is another one.
    #[must_use]
    pub fn open(&self, context: &str, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = *sealed.last_chunk::<NONCE>()?;
        sealed.truncate(sealed.len() - NONCE);
        self.cipher().decrypt_in_place(&nonce.into(), context.as_bytes(), &mut sealed).ok()?;
        Some(sealed)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_secret_purpose_or_context_opens_nothing() {
        let sealed = |key: &SealingKey| key.seal([7; NONCE], "there", b"token".to_vec()).unwrap();
        let key = SealingKey::derive(b"secret", "tokens");
        assert_eq!(key.open("there", sealed(&key)).as_deref(), Some(&b"token"[..]));
        assert_eq!(key.open("here", sealed(&key)), None);
        for other in [SealingKey::derive(b"secrets", "tokens"), SealingKey::derive(b"secret", "token")] {
            assert_eq!(other.open("there", sealed(&key)), None);
        }
        assert!(!format!("{key:?}").contains(|c: char| c.is_ascii_digit()));
    }

    /// The test vector of RFC 8439, 2.8.2, and the first one of RFC 5869, A.1 (here without its salt: A.3).
    #[test]
    fn the_algorithms_are_those_of_the_standards() {
        let SealingKey(derived) = SealingKey::derive(&[0x0b; 22], "");
        assert_eq!(derived[..8], [0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f]);
        let key = SealingKey(std::array::from_fn(|i| 0x80 + u8::try_from(i).unwrap()));
        let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
        let text =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                     sunscreen would be it.";
        let sealed = key.seal(nonce, "", text.to_vec()).unwrap();
        assert_eq!(sealed[..8], [0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb]);
    }

    proptest! {
        #[test]
        fn a_changed_value_does_not_open(message in "\\PC{0,40}", at: usize, change in 1_u8..) {
            let key = SealingKey::derive(b"secret", "tokens");
            let mut sealed = key.seal([7; NONCE], "there", message.into_bytes()).unwrap();
            let at = at % sealed.len();
            sealed[at] ^= change;
            prop_assert_eq!(key.open("there", sealed), None);
        }

        #[test]
        fn arbitrary_bytes_open_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(SealingKey::derive(b"secret", "tokens").open("", bytes), None);
        }
    }
}
