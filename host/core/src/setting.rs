//! Settings: what is wrong with one, and those that are secret.

use std::{convert::Infallible, fmt, str::FromStr};

/// A setting has a value that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid value for {name}: {reason}")]
pub struct InvalidSetting {
    /// The flag or variable.
    pub name: &'static str,
    /// What is wrong, with the value unless it may be a secret.
    pub reason: String,
}

impl InvalidSetting {
    /// Checks that a time is not shorter than `least`.
    ///
    /// # Errors
    /// When it is.
    pub fn check_period(name: &'static str, value: crate::Period, least: crate::Period) -> Result<(), Self> {
        if value < least {
            return Err(Self { name, reason: format!("{value} is less than {least}") });
        }
        Ok(())
    }
}

/// A text that no log line and no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}
