//! RSA signatures of the kind that GitHub asks of apps: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2).
//!
//! The numbers are of `crypto-bigint`, whose modular exponentiation takes the same time for all exponents of a length. The
//! exponentiation does not use the primes, so that a fault in it cannot reveal them, and each signature is verified
//! before it is used. `docs/decisions/0048-an-app-of-github.md` says why this is not the crate `rsa`.

use std::fmt;

use base64ct::{Base64, Encoding as _};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use sha2::{Digest as _, Sha256};

use crate::crypto::der::{self, Numbers};
use crate::crypto::sealing::SealingKey;

/// The lengths of a modulus that are accepted, in bytes: 2048, 3072 and 4096 bits. GitHub makes keys of 2048 bits.
const LENGTHS: [usize; 3] = [256, 384, 512];
/// The longest public exponent, in bits. The usual one is 65537.
const PUBLIC_BITS: u32 = 32;
/// The DER of `DigestInfo` for SHA-256 up to the digest (RFC 8017, 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// An RSA private key. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    modulus: Vec<u8>,
    public: Vec<u8>,
    private: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Reads a PEM file (RFC 7468) that holds a key without a password, as PKCS#1 or PKCS#8. Where a variable cannot hold
    /// line breaks, they may be written as `\n`, or be missing.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.replace("\\n", "\n");
        for (label, read) in
            [("RSA PRIVATE KEY", der::pkcs1 as fn(&[u8]) -> Option<Numbers<'_>>), ("PRIVATE KEY", der::pkcs8)]
        {
            let text = pem.trim().strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_prefix(label));
            let text = text.and_then(|rest| rest.strip_prefix("-----"));
            let text =
                text.and_then(|rest| rest.strip_suffix("-----")).and_then(|rest| rest.strip_suffix(label));
            if let Some(text) = text.and_then(|rest| rest.strip_suffix("-----END ")) {
                let text: String = text.split_ascii_whitespace().collect();
                return Self::from_numbers(read(&Base64::decode_vec(&text).ok()?)?);
            }
        }
        None
    }

    fn from_numbers(numbers: Numbers<'_>) -> Option<Self> {
        let Numbers { modulus, public, private } = numbers;
        // The first bit of a modulus of that length is set, and the last one of a product of odd primes.
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        let is_usable = LENGTHS.contains(&modulus.len())
            && modulus.first().is_some_and(|byte| *byte > 0x7f)
            && is_odd(modulus)
            && is_odd(public)
            && public.len() <= 4
            && public != [1]
            && private.len() <= modulus.len();
        is_usable.then(|| Self {
            modulus: modulus.to_vec(),
            public: public.to_vec(),
            private: private.to_vec(),
        })
    }

    /// The signature of `message`; `None` if the numbers of the key do not belong together.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<Box<[u8]>> {
        let bits = u32::try_from(self.modulus.len() * 8).ok()?;
        let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).ok();
        let params = BoxedMontyParams::new(Option::from(Odd::new(number(&self.modulus)?))?);
        let encoded = number(&encode(message, self.modulus.len())?)?;
        let signature = BoxedMontyForm::new(encoded.clone(), &params).pow(&number(&self.private)?);
        let verified = signature.pow_bounded_exp(&number(&self.public)?, PUBLIC_BITS).retrieve();
        (verified == encoded).then(|| signature.retrieve().to_be_bytes())
    }

    /// A key for encryption that only somebody with this key can derive. Another `purpose` gives another key.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> SealingKey {
        SealingKey::derive(&self.private, purpose)
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017, 9.2): the message's digest in `length` bytes.
fn encode(message: &[u8], length: usize) -> Option<Vec<u8>> {
    let padding = length.checked_sub(DIGEST_INFO.len() + 32 + 3)?;
    let mut encoded = vec![0, 1];
    encoded.resize(2 + padding, 0xff);
    encoded.push(0);
    encoded.extend_from_slice(&DIGEST_INFO);
    encoded.extend_from_slice(&Sha256::digest(message));
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    use super::*;
    use crate::crypto::test_keys::make;

    const MESSAGE: &[u8] = b"message";

    /// Whether another library accepts a signature of [`MESSAGE`].
    fn is_valid(key: &SigningKey, signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: &key.modulus, e: &key.public };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, MESSAGE, signature).is_ok()
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        for bits in [2048, 3072] {
            let [pkcs1, pkcs8] = make(bits);
            let key = SigningKey::from_pem(&pkcs1).unwrap();
            assert_eq!(SigningKey::from_pem(&pkcs8), Some(key.clone()));
            let signature = key.sign(MESSAGE).unwrap();
            assert!(is_valid(&key, &signature), "{bits}");
            assert_ne!(key.sign(b"another"), Some(signature));
        }
    }

    #[test]
    fn numbers_that_do_not_belong_together_sign_nothing() {
        let mut key = SigningKey::from_pem(&make(2048)[0]).unwrap();
        *key.private.last_mut().unwrap() ^= 2;
        assert_eq!(key.sign(MESSAGE), None);
    }

    #[test]
    fn a_variable_may_change_the_line_breaks_and_nothing_else() {
        let [pkcs1, pkcs8] = make(2048);
        let key = SigningKey::from_pem(&pkcs1);
        assert!(key.is_some());
        for pem in [&pkcs1, &pkcs8] {
            for line_break in ["\r\n", "\\n", "\\r\\n", " ", ""] {
                let changed = pem.lines().collect::<Vec<_>>().join(line_break);
                let expected = if line_break.contains("\\r") { None } else { key.clone() };
                assert_eq!(SigningKey::from_pem(&changed), expected, "{line_break:?}");
            }
            assert_eq!(SigningKey::from_pem(&format!("\n{pem}\\n ")), key);
            let refused = [
                pem.replace("PRIVATE", "PUBLIC"),
                pem.replace("PRIVATE", "ENCRYPTED PRIVATE"),
                pem.replace("-----END", ""),
                pem.replacen('M', "!", 1),
                pem.lines().skip(1).collect(),
                pem.lines().filter(|line| line.len() < 64).collect(),
                format!("{pem}{pem}"),
            ];
            for refused in refused {
                assert_eq!(SigningKey::from_pem(&refused), None, "{refused}");
            }
        }
        assert_eq!(SigningKey::from_pem(&make(1024)[0]), None);
    }

    #[test]
    fn it_is_never_shown() {
        let key = SigningKey::from_pem(&make(2048)[0]).unwrap();
        assert_eq!(format!("{key:?} {:?}", key.derive("x")), "SigningKey(…) SealingKey(…)");
    }
}
