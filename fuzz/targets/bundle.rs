//! Input: a Sigstore bundle, as a registry sends it. The private key of `KEY` has signed the statements of the seeds, and was then deleted. So a
//! bundle counts only with the statement of `seeds/bundle/signed`, and for its image only. A refusal is short, whatever the registry sends.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wasi_http_image_verifier::{bundle::signer, digest::Digest, key::Key};

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6a+Q7kgqaHmf47GZpni213DUyLg7
z7E5MACp4HoXIhHDlH+vpST5RBONId9m/ImObBtnFTxxzuTxT3AEFWpCsA==
-----END PUBLIC KEY-----";
const SIGNED: &[u8] = include_bytes!("../seeds/bundle/signed");

static KEYS: LazyLock<[Key; 1]> = LazyLock::new(|| {
    let keys = [Key::parse("release.pub", KEY).expect("the key is one")];
    assert!(signer(SIGNED, &keys, &Digest::of(b"image")).is_ok(), "the seed counts");
    keys
});

/// The statement of a bundle, in Base64.
fn payload(bundle: &[u8]) -> Option<Value> {
    let bundle: Value = serde_json::from_slice(bundle).ok()?;
    bundle.pointer("/dsseEnvelope/payload").cloned()
}

fuzz_target!(|bytes: &[u8]| {
    match signer(bytes, &*KEYS, &Digest::of(b"image")) {
        Ok(key) => {
            assert_eq!(key.name, "release.pub");
            assert_eq!(payload(bytes), payload(SIGNED));
        }
        Err(reason) => assert!(reason.len() < 1000, "{} bytes", reason.len()),
    }
    // The seed `another` signs "other".
    assert!(signer(bytes, &*KEYS, &Digest::of(b"unsigned")).is_err());
});
