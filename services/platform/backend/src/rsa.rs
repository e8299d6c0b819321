//! RSA signatures: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), which JSON Web Tokens call `RS256`.
//!
//! Verification encodes the message as the signer did, and compares the whole encoding. So it parses nothing of a signature,
//! which may come from an attacker. Nothing here is secret, so no time has to be constant.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use sha2::{Digest as _, Sha256};

/// The lengths of a modulus that are accepted, in bytes: 2048, 3072 and 4096 bits.
const LENGTHS: [usize; 3] = [256, 384, 512];
/// The longest public exponent, in bytes. The usual one is 65537.
const MAX_EXPONENT: usize = 4;
/// The DER of `DigestInfo` for SHA-256 up to the digest (RFC 8017, 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// The key of a modulus and an exponent, both big-endian; `None` if its length is not accepted, or if it is no key.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        let is_usable = LENGTHS.contains(&modulus.len())
            // A modulus of that length has its first bit set.
            && modulus.first().is_some_and(|byte| *byte > 0x7f)
            && is_odd(modulus)
            && is_odd(exponent)
            && exponent.len() <= MAX_EXPONENT
            && exponent != [1];
        is_usable.then(|| Self { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    /// Whether `signature` is the key's for `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.opened(signature).is_some_and(|opened| *opened == *self.encoded(message))
    }

    /// What the owner of the key has signed; `None` if `signature` has another length or is not below the modulus.
    fn opened(&self, signature: &[u8]) -> Option<Box<[u8]>> {
        if signature.len() != self.modulus.len() {
            return None;
        }
        let bits = u32::try_from(self.modulus.len() * 8).ok()?;
        let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).ok();
        let (modulus, signature) = (number(&self.modulus)?, number(signature)?);
        if signature >= modulus {
            return None;
        }
        let params = BoxedMontyParams::new_vartime(Option::from(Odd::new(modulus))?);
        let exponent_bits = u32::try_from(MAX_EXPONENT * 8).ok()?;
        let opened =
            BoxedMontyForm::new(signature, &params).pow_bounded_exp(&number(&self.exponent)?, exponent_bits);
        Some(opened.retrieve().to_be_bytes())
    }

    /// EMSA-PKCS1-v1_5 (RFC 8017, 9.2): the message's digest in as many bytes as the modulus has.
    fn encoded(&self, message: &[u8]) -> Vec<u8> {
        let digest = Sha256::digest(message);
        let padding = self.modulus.len().saturating_sub(DIGEST_INFO.len() + digest.len() + 3);
        let mut encoded = vec![0, 1];
        encoded.resize(2 + padding, 0xff);
        encoded.push(0);
        encoded.extend_from_slice(&DIGEST_INFO);
        encoded.extend_from_slice(&digest);
        encoded
    }
}

/// A number without its leading zeros.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::jwt::test_tokens::Signer;

    const MESSAGE: &[u8] = b"message";

    fn signed() -> &'static (PublicKey, Vec<u8>) {
        static SIGNED: OnceLock<(PublicKey, Vec<u8>)> = OnceLock::new();
        SIGNED.get_or_init(|| {
            let signer = Signer::known();
            (signer.public_key(), signer.sign(MESSAGE))
        })
    }

    #[test]
    fn a_signature_is_for_one_message_and_one_key() {
        let (key, signature) = signed();
        assert!(key.verifies(MESSAGE, signature));
        assert!(!key.verifies(b"massage", signature));
        assert!(!Signer::stranger().public_key().verifies(MESSAGE, signature));
    }

    #[test]
    fn numbers_that_are_no_key_are_refused() {
        let (key, _) = signed();
        let PublicKey { modulus, exponent } = key;
        let mut even = modulus.clone();
        *even.last_mut().unwrap() &= 0xfe;
        let mut padded = vec![0, 0];
        padded.extend_from_slice(modulus);
        assert_eq!(PublicKey::new(&padded, exponent).as_ref(), Some(key));
        for (modulus, exponent) in [
            (&even[..], &exponent[..]),
            (&modulus[..128], exponent),
            (&modulus[..255], exponent),
            (modulus, &[]),
            (modulus, &[1]),
            (modulus, &[1, 0]),
            (modulus, &[1, 0, 0, 0, 1]),
            (&[], exponent),
        ] {
            assert_eq!(PublicKey::new(modulus, exponent), None, "{} {exponent:?}", modulus.len());
        }
    }

    #[test]
    fn a_signature_of_another_size_is_refused() {
        let (key, signature) = signed();
        let mut longer = vec![0];
        longer.extend_from_slice(signature);
        for other in [&longer[..], &signature[1..], &[], &key.modulus, &[0xff; 256], &[0; 256]] {
            assert!(!key.verifies(MESSAGE, other), "{}", other.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_changed_bit_is_accepted(index in 0..256_usize, bit in 0..8_u32) {
            let (key, signature) = signed();
            let mut changed = signature.clone();
            changed[index] ^= 1 << bit;
            prop_assert!(!key.verifies(MESSAGE, &changed));
        }
    }
}
