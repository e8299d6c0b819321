//! The name of a GitHub user, valid by construction.

use std::borrow::Cow;
use std::fmt;

use crate::request::percent;

/// The most characters that a name may have.
pub const MAX_CHARACTERS: usize = 39;

/// The suffix of an app's account, as in `dependabot[bot]`.
const BOT: &str = "[bot]";

/// A name that a user may have: one or more of `[A-Za-z0-9_-]`, optionally followed by `[bot]`.
///
/// GitHub's current sign-up rules (no `_`, no `-` at the end, …) are not enforced, because legacy and
/// enterprise-managed names break them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

/// Why a name is not a [`Username`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameError {
    /// It has more than [`MAX_CHARACTERS`]. Checked first, as FastAPI validates before its handler runs.
    TooLong,
    /// It has a character that no name has, or none at all.
    CannotExist,
}

impl Username {
    /// Validates `name`, which callers have percent-decoded.
    ///
    /// # Errors
    /// [`UsernameError::TooLong`] before [`UsernameError::CannotExist`].
    pub fn new(name: &str) -> Result<Self, UsernameError> {
        // A character has at least one byte, so the characters of a short name need not be counted.
        if name.len() > MAX_CHARACTERS && name.chars().count() > MAX_CHARACTERS {
            return Err(UsernameError::TooLong);
        }
        let stem = name.strip_suffix(BOT).unwrap_or(name);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if stem.is_empty() || !stem.bytes().all(fits) {
            return Err(UsernameError::CannotExist);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name in the case that the client used. Errors repeat it.
    pub fn as_asked(&self) -> &str {
        &self.0
    }

    /// The name in lower case, for keys: GitHub's names are case-insensitive.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The name percent-encoded as a path segment.
    pub fn encoded(&self) -> Cow<'_, str> {
        percent::encode_segment(&self.0)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Username, UsernameError};
    use crate::request::percent;

    #[test]
    fn knows_which_names_may_exist() {
        let longest = "x".repeat(39);
        for name in ["octocat", "a", "A-b_c", "-", "dependabot[bot]", longest.as_str()] {
            assert_eq!(Username::new(name).unwrap().as_asked(), name);
        }
        for name in
            ["", "[bot]", "a b", "a/b", "a.b", "é", "a[bot", "a[bot]x", "[bot][bot]", "a\0", "..", "\\host"]
        {
            assert_eq!(Username::new(name), Err(UsernameError::CannotExist), "{name:?}");
        }
    }

    #[test]
    fn counts_characters_before_it_looks_at_them() {
        assert_eq!(Username::new(&"x".repeat(40)), Err(UsernameError::TooLong));
        assert_eq!(Username::new(&"é".repeat(40)), Err(UsernameError::TooLong));
        assert_eq!(Username::new(&"é".repeat(39)), Err(UsernameError::CannotExist));
        assert_eq!(Username::new(&format!("{}[bot]", "x".repeat(35))), Err(UsernameError::TooLong));
    }

    #[test]
    fn has_a_form_for_keys_and_one_for_paths() {
        let name = Username::new("DependaBot[bot]").unwrap();
        assert_eq!((name.key().as_str(), &*name.encoded()), ("dependabot[bot]", "DependaBot%5Bbot%5D"));
        assert_eq!(name.to_string(), "DependaBot[bot]");
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_is_plain_in_every_form(text in "\\PC{0,45}|[A-Za-z0-9_\\-\\[\\]bot]{0,45}") {
            let Ok(name) = Username::new(&text) else { return Ok(()) };
            let encoded = name.encoded();
            prop_assert_eq!(name.as_asked(), &text);
            prop_assert_eq!(percent::decode(&encoded), text.as_str());
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%".contains(&b)));
            prop_assert!(Username::new(&name.key()).is_ok());
        }
    }
}
