//! Which bundles sign an image.

use proptest::prelude::*;
use serde_json::{Value, json};
use wasi_http_image_verifier::{bundle::signer, digest::Digest, key::Key};

use crate::signing::{SIGNATURE, Signer, statement};

const IN_TOTO: &str = "application/vnd.in-toto+json";

fn judge(bundle: &Value, keys: &[Key], image: &Digest) -> Result<String, String> {
    signer(bundle.to_string().as_bytes(), keys, image).map(|key| key.name.clone())
}

#[test]
fn a_signature_by_one_of_the_keys_counts() {
    let (image, old, new) = (Digest::of(b"image"), Signer::new("old.pub"), Signer::new("new.pub"));
    let keys = [old.key.clone(), new.key.clone()];
    assert_eq!(judge(&old.sign(&image), &keys, &image), Ok("old.pub".to_owned()));
    assert_eq!(judge(&new.sign(&image), &keys, &image), Ok("new.pub".to_owned()));
}

#[test]
fn what_does_not_sign_the_image_is_refused_with_the_reason() {
    let (image, other) = (Digest::of(b"image"), Digest::of(b"other"));
    let (ours, theirs) = (Signer::new("ours.pub"), Signer::new("theirs.pub"));
    let good = ours.sign(&image);
    let with = |pointer: &str, value: Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(pointer).unwrap() = value;
        bundle
    };
    let sbom = statement(&image, "https://cyclonedx.org/bom");
    let no_kind = json!({ "subject": [], "predicateType": SIGNATURE });
    let sha512 = json!({ "_type": "https://in-toto.io/Statement/v1", "predicateType": SIGNATURE,
        "subject": [{ "digest": { "sha512": image.hex() } }] });
    let of_other = ours.sign(&other);
    for (bundle, reason) in [
        (theirs.sign(&image), "none of the policy's keys"),
        (of_other.clone(), "signed by ours.pub, but for another image"),
        // The payload of a good signature for another image, changed to this one.
        (
            with("/dsseEnvelope/signatures", of_other["dsseEnvelope"]["signatures"].clone()),
            "none of the policy's keys",
        ),
        (
            with("/dsseEnvelope/payload", of_other["dsseEnvelope"]["payload"].clone()),
            "none of the policy's keys",
        ),
        (with("/dsseEnvelope/payload", json!("%")), "not Base64"),
        (with("/dsseEnvelope/signatures", json!([])), "none of the policy's keys"),
        (with("/dsseEnvelope/signatures/0/sig", json!("")), "none of the policy's keys"),
        (with("/dsseEnvelope/payloadType", json!("text/plain")), "a payload of the type"),
        (with("/mediaType", json!("application/vnd.dev.sigstore.bundle.v9+json")), "a bundle of the type"),
        (with("/dsseEnvelope", Value::Null), "not a Sigstore bundle"),
        (json!({ "mediaType": "x", "messageSignature": {} }), "not a Sigstore bundle"),
        (ours.envelope(&sbom.to_string(), IN_TOTO), "is no signature"),
        (ours.envelope(&no_kind.to_string(), IN_TOTO), "not an in-toto statement"),
        (ours.envelope(&sha512.to_string(), IN_TOTO), "for another image"),
        (ours.envelope("{", IN_TOTO), "not an in-toto statement"),
        (ours.envelope(&statement(&image, SIGNATURE).to_string(), "text/plain"), "a payload of the type"),
    ] {
        let refused = judge(&bundle, std::slice::from_ref(&ours.key), &image).unwrap_err();
        assert!(refused.contains(reason), "{bundle}: {refused}");
    }
    assert!(judge(&good, &[], &image).is_err());
}

#[test]
fn a_refusal_is_short_whatever_the_registry_has() {
    let (image, ours) = (Digest::of(b"image"), Signer::new("ours.pub"));
    let long = "x".repeat(100_000);
    let refused = judge(
        &ours.envelope(&statement(&image, &long).to_string(), IN_TOTO),
        std::slice::from_ref(&ours.key),
        &image,
    );
    assert!(refused.unwrap_err().len() < 300);
    let statement = ours.envelope(&json!({ "_type": "x", "subject": long }).to_string(), IN_TOTO);
    assert!(judge(&statement, std::slice::from_ref(&ours.key), &image).unwrap_err().len() < 300);
    // serde's messages repeat a text that stands where something else was expected.
    for member in ["mediaType", "dsseEnvelope"] {
        let mut bundle = ours.sign(&image);
        bundle[member] = json!(long);
        let refused = judge(&bundle, std::slice::from_ref(&ours.key), &image).unwrap_err();
        assert!(refused.len() < 300, "{member}: {} bytes", refused.len());
    }
}

#[test]
fn only_p_256_keys_in_pem_form_are_keys() {
    let pem = Signer::new("k").pem();
    for wrong in [
        String::new(),
        "ours.pub".to_owned(),
        pem.replace("PUBLIC", "PRIVATE"),
        pem.replace('M', "!"),
        format!("{pem}{pem}"),
        // Ed25519, by RFC 8410's example.
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n".to_owned(),
    ] {
        let refused = Key::parse("k", &wrong).unwrap_err();
        assert!(refused.contains("ECDSA with P-256"), "{wrong}: {refused}");
    }
}

proptest! {
    #[test]
    fn anything_else_signs_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let ours = Signer::new("ours.pub");
        prop_assert!(signer(&bytes, &[ours.key], &Digest::of(b"image")).is_err());
    }

    /// No byte of a good bundle can be changed so that it signs another image.
    #[test]
    fn a_changed_bundle_signs_no_other_image(position in 0_usize..1_000, byte in any::<u8>()) {
        let ours = Signer::new("ours.pub");
        let mut bundle = ours.sign(&Digest::of(b"image")).to_string().into_bytes();
        let position = position % bundle.len();
        bundle[position] = byte;
        prop_assert!(signer(&bundle, &[ours.key], &Digest::of(b"other")).is_err());
    }
}
