//! Names of variables.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use wasi_http_host_core::environment;

/// Longest name, in bytes.
const MAX_BYTES: usize = 64;

/// A variable's name by Spin's rule: lower-case words of letters and digits, joined by single underscores. The first
/// character is a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// The text is not a variable's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a variable name: use lower_snake_case and at most {MAX_BYTES} bytes")]
pub struct InvalidName(pub String);

/// The host reads the environment variable of this name for itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no variable may have the name {0}, because the host reads {variable} for itself: choose another name",
    variable = .0.as_str().to_ascii_uppercase()
)]
pub struct ReservedName(pub Name);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The two environment variables that set this variable. The first of them takes precedence.
    #[must_use]
    pub fn environment(&self) -> [String; 2] {
        let upper = self.0.to_ascii_uppercase();
        [format!("SPIN_VARIABLE_{upper}"), upper]
    }

    /// Checks that the host does not read the environment variable for itself, which may be a secret.
    ///
    /// # Errors
    /// The host reads the variable.
    pub fn check_reserved(&self) -> Result<(), ReservedName> {
        match environment::setter(&self.0) {
            Some(_) => Err(ReservedName(self.clone())),
            None => Ok(()),
        }
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let letter_first = name.starts_with(|c: char| c.is_ascii_lowercase());
        if letter_first && name.len() <= MAX_BYTES && name.split('_').all(word) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName(name.chars().take(MAX_BYTES + 1).collect()))
        }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_snake_case_only() {
        for name in ["a", "github_token", "a1_b2", "x_1"] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
        for name in ["", "A", "_a", "a_", "a__b", "1a", "a-b", "ä", "a b", &"a".repeat(65)] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }
}
