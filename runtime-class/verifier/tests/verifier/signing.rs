//! Keys, and bundles as cosign makes them.

use base64ct::{Base64, Encoding as _};
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};
use wasi_http_image_verifier::{bundle::MEDIA_TYPE, digest::Digest, key::Key};

/// The predicate of a signature.
pub(crate) const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// A private key, and its public half.
pub(crate) struct Signer {
    pair: KeyPair,
    pub(crate) key: Key,
}

impl Signer {
    pub(crate) fn new(name: &str) -> Self {
        let pair = KeyPair::generate().unwrap();
        let key = Key::parse(name, &pair.public_key_pem()).unwrap();
        Self { pair, key }
    }

    pub(crate) fn pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// A bundle that signs an image.
    pub(crate) fn sign(&self, image: &Digest) -> Value {
        self.envelope(&statement(image, SIGNATURE).to_string(), "application/vnd.in-toto+json")
    }

    /// A bundle with this payload.
    pub(crate) fn envelope(&self, payload: &str, kind: &str) -> Value {
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = self.pair.sign(message.as_bytes()).unwrap();
        json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": { "publicKey": { "hint": "x" } },
            "dsseEnvelope": {
                "payload": Base64::encode_string(payload.as_bytes()), "payloadType": kind,
                "signatures": [{ "sig": Base64::encode_string(&signature) }],
            },
        })
    }
}

/// An in-toto statement about an image.
pub(crate) fn statement(image: &Digest, predicate: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{ "digest": { "sha256": image.hex() }, "annotations": {} }],
        "predicateType": predicate, "predicate": {},
    })
}
