//! Why a pull is refused.

use std::{io, path::PathBuf};

use crate::digest::{Digest, InvalidDigest};

/// A pull is refused. containerd shows the text in the pod's events.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// containerd called the program with arguments that it does not know.
    #[error(
        "expected -name NAME -digest DIGEST as containerd's plugin image-verifier.v1.bindir passes them: {0}"
    )]
    Arguments(String),
    /// The name of the image is not one that a registry could have.
    #[error("image name {name:?}: {reason}")]
    Name {
        /// The name as containerd passed it.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The digest is not SHA-256, or not a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// A file of the policy could not be read.
    #[error("{path}: {source}")]
    File {
        /// The file or the directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file of the policy is wrong.
    #[error("{path}: {reason}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
    /// The policy lists no key for the image, and refuses what it does not list.
    #[error("{0} is not listed in the node's policy, which refuses unlisted images")]
    Unlisted(String),
    /// The registry could not be asked.
    #[error("{url}: {reason}")]
    Registry {
        /// The URL of the request.
        url: String,
        /// The status, or the connection's error.
        reason: String,
    },
    /// The registry has no signature of the image.
    #[error(
        "not signed: the registry has no Sigstore bundle of {0}; sign the image: cosign sign --key KEY IMAGE@DIGEST"
    )]
    Unsigned(Digest),
    /// The registry has signatures, and none of them counts. Holds the reason for each.
    #[error("no signature counts: {0}")]
    NoneCounts(String),
}

/// Result of a step of the verification.
pub type Result<T> = std::result::Result<T, Error>;

/// Characters of a text from outside in a message.
const TEXT_MAX: usize = 80;

/// A text of the registry for a message: its beginning. serde's messages count too, because they repeat what they do not expect.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

impl Error {
    /// Converts an I/O error, for `map_err`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
