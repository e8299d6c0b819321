//! Settings: the error for an invalid setting, and a type for secret values.

use std::{convert::Infallible, fmt, str::FromStr};

/// An error: a setting has a value that the host cannot use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid value for {name}: {reason}")]
pub struct InvalidSetting {
    /// The name of the flag or variable.
    pub name: &'static str,
    /// What is wrong. The text contains the value unless the value may be a secret.
    pub reason: String,
}

impl InvalidSetting {
    /// Checks that the setting `name` is not shorter than `least`.
    ///
    /// # Errors
    /// When `value` is shorter than `least`.
    pub fn check_period(name: &'static str, value: crate::Period, least: crate::Period) -> Result<(), Self> {
        if value < least {
            return Err(Self { name, reason: format!("{value} is less than {least}") });
        }
        Ok(())
    }
}

/// A secret text. Log lines and `Debug` output do not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret. The caller must not log it.
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
