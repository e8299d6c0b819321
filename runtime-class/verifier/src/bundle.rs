//! Sigstore bundles, as `cosign sign` of version 3 attaches them to images: a DSSE envelope with an in-toto statement.
//!
//! Specifications: Sigstore's `sigstore_bundle.proto` (media type `…bundle.v0.3+json`), DSSE 1.0, in-toto Statement 1.0. A transparency
//! log's entry in the bundle is ignored: the operator's key alone decides.

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;

use crate::{digest::Digest, error::short, key::Key};

/// Media type of a bundle, and artifact type of the manifest that holds it.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// The predicate of a signature. An attestation, such as an SBOM, has another one: it does not say that the image may run.
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Signatures of an envelope that are read. cosign writes one.
const SIGNATURES_MAX: usize = 8;
/// Subjects of a statement that are read. cosign writes one.
const SUBJECTS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: Option<String>,
}

/// The key of `keys` by which a bundle signs `image`.
///
/// # Errors
/// With the reason, when the bundle is not one, no key has signed it, or it signs something else.
pub fn signer<'a>(bundle: &[u8], keys: &'a [Key], image: &Digest) -> Result<&'a Key, String> {
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|error| {
        format!("not a Sigstore bundle with a DSSE envelope: {}", short(&error.to_string()))
    })?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(format!(
            "a bundle of the type {:?} instead of {MEDIA_TYPE:?}",
            short(&bundle.media_type)
        ));
    }
    let envelope = bundle.dsse_envelope;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(format!(
            "a payload of the type {:?} instead of {PAYLOAD_TYPE:?}",
            short(&envelope.payload_type)
        ));
    }
    let payload = decode(&envelope.payload).ok_or("a payload that is not Base64")?;
    // The payload is read only after a key of the policy has signed it.
    let message = authenticated(&envelope.payload_type, &payload);
    let mut signatures =
        envelope.signatures.iter().take(SIGNATURES_MAX).filter_map(|signature| decode(&signature.sig));
    let key = signatures.find_map(|signature| keys.iter().find(|key| key.has_signed(&message, &signature)));
    let key = key.ok_or("a signature by none of the policy's keys, or of changed content")?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(|error| {
        format!("signed by {}, but not an in-toto statement: {}", key.name, short(&error.to_string()))
    })?;
    if !STATEMENT_TYPES.contains(&statement.kind.as_str()) || statement.predicate_type != SIGNATURE {
        return Err(format!(
            "signed by {}, but a statement of the kind {:?} is no signature",
            key.name,
            short(&statement.predicate_type)
        ));
    }
    let mut subjects =
        statement.subject.iter().take(SUBJECTS_MAX).filter_map(|subject| subject.digest.sha256.as_deref());
    if subjects.any(|sha256| sha256 == image.hex()) {
        Ok(key)
    } else {
        Err(format!("signed by {}, but for another image", key.name))
    }
}

/// DSSE's pre-authentication encoding: what is signed.
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn decode(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}
