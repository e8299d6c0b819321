//! Digests of content, as the OCI image specification writes them. Only SHA-256, which every registry uses.

use std::{fmt, str::FromStr};

use ring::digest::{SHA256, digest};

const ALGORITHM: &str = "sha256";
const HEX_DIGITS: usize = 64;
/// Characters of a wrong digest that are shown.
const TEXT_MAX: usize = 100;

/// A text is not a SHA-256 digest. Holds the text.
#[derive(Debug, thiserror::Error)]
#[error("digest {0:?}: expected sha256: and 64 hexadecimal digits")]
pub struct InvalidDigest(String);

/// A SHA-256 digest, as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
        let valid =
            hex.len() == HEX_DIGITS && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            Ok(Self(hex.to_owned()))
        } else {
            Err(InvalidDigest(text.chars().take(TEXT_MAX).collect()))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ALGORITHM}:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_the_one_algorithm_and_64_digits() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), empty);
        for wrong in [
            "",
            "sha256:",
            &empty[..70],
            &format!("{empty}0"),
            &empty.to_uppercase(),
            &empty.replace("sha256", "sha512"),
            &empty.replace(':', ""),
            &empty.replace('e', "/"),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
