//! The decision about a pull.

use std::time::{Duration, Instant};

use crate::{
    bundle,
    error::{Error, Result},
    policy::{Policy, Rule},
    registry::Registry,
    request::Request,
};

/// Time for the whole decision. containerd ends a verifier after 10 seconds (`per_verifier_timeout`), without a reason.
pub const TIME_LIMIT: Duration = Duration::from_secs(8);
/// The most reasons that the message of a refusal has.
const REASONS_MAX: usize = 4;

/// Decides about a pull. Returns why it is allowed.
///
/// # Errors
/// Why the pull is refused.
pub fn decide(policy: &Policy, request: &Request) -> Result<String> {
    let keys = match policy.rule(&request.image) {
        Rule::Signed(keys) => keys,
        Rule::Allowed => return Ok(format!("{} is not listed in the node's policy", request.image)),
        Rule::Refused => return Err(Error::Unlisted(request.image.to_string())),
    };
    let access = policy.access_to(&request.image.registry);
    let registry = Registry::of(&request.image, access, Instant::now() + TIME_LIMIT)?;
    let mut reasons = Vec::new();
    for manifest in registry.bundles(&request.digest)? {
        // A bundle that cannot be read does not count. Another bundle may.
        let read = registry.bundle(&manifest).map_err(|error| error.to_string());
        match read.and_then(|bundle| bundle::signer(&bundle, keys, &request.digest)) {
            Ok(key) => return Ok(format!("signed by {}", key.name)),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        return Err(Error::Unsigned(request.digest.clone()));
    }
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    Err(Error::NoneCounts(reasons.join("; ")))
}
