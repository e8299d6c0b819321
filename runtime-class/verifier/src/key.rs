//! Public keys: ECDSA with P-256, the kind that `cosign generate-key-pair` makes, in PEM form.

use base64ct::{Base64, Encoding as _};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// What precedes the point in the `SubjectPublicKeyInfo` (RFC 5480) of an uncompressed P-256 key: the sequences, the identifiers of
/// ecPublicKey and prime256v1, and the head of the bit string.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point: 4, x and y.
const POINT_BYTES: usize = 65;

/// A public key of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The file's name, for messages.
    pub name: String,
    point: Vec<u8>,
}

impl Key {
    /// Reads a key in PEM form.
    ///
    /// # Errors
    /// With the reason, when the text is not one public key of this kind.
    pub fn parse(name: &str, pem: &str) -> Result<Self, String> {
        let expected =
            "expected one PUBLIC KEY in PEM form, ECDSA with P-256, as `cosign generate-key-pair` writes it";
        let body = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body: String = body.ok_or(expected)?.split_whitespace().collect();
        let spki = Base64::decode_vec(&body).map_err(|error| format!("{expected}: {error}"))?;
        let point = spki
            .strip_prefix(&P256_HEAD)
            .filter(|point| point.len() == POINT_BYTES && point.first() == Some(&4));
        Ok(Self { name: name.to_owned(), point: point.ok_or(expected)?.to_vec() })
    }

    /// Whether the signature, in ASN.1 form, is this key's for the message.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}
