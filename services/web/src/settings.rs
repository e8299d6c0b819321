//! Settings: `wasi:config`, else the environment.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::problem::Problem;
use crate::secret::Secret;
use crate::system::System;

/// A type that a setting can have.
pub trait Setting: Sized {
    /// Parses `value`, which is not empty.
    ///
    /// # Errors
    /// What is expected instead, to follow "expected ".
    fn parse(value: &str) -> Result<Self, String>;

    /// Whether an error may show the value.
    const IS_SECRET: bool = false;
}

impl Setting for String {
    fn parse(value: &str) -> Result<Self, String> {
        Ok(value.to_owned())
    }
}

impl Setting for Secret {
    const IS_SECRET: bool = true;

    fn parse(value: &str) -> Result<Self, String> {
        Ok(Self::new(value))
    }
}

/// Makes settings of types that the standard library parses.
macro_rules! parsed {
    ($($type:ty => $expected:literal),* $(,)?) => {
        $(impl Setting for $type {
            fn parse(value: &str) -> Result<Self, String> {
                value.parse().map_err(|_| $expected.to_owned())
            }
        })*
    };
}

parsed! {
    bool => "true or false",
    u16 => "a number from 0 to 65535",
    u32 => "a number from 0 to 4294967295",
    u64 => "a number that is not negative",
    i64 => "a whole number",
    IpAddr => "an IP address",
}

/// `500ms`, `2s`: above zero, and an hour at most.
impl Setting for Duration {
    fn parse(value: &str) -> Result<Self, String> {
        const MAX: Duration = Duration::from_secs(3_600);
        let duration = match value.strip_suffix("ms") {
            Some(millis) => millis.parse().ok().map(Self::from_millis),
            None => value.strip_suffix('s').and_then(|seconds| seconds.parse().ok()).map(Self::from_secs),
        };
        duration
            .filter(|duration| !duration.is_zero() && *duration <= MAX)
            .ok_or_else(|| "a duration such as 500ms or 2s, an hour at most".to_owned())
    }
}

/// A setting whose value does not parse, or that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The name, in `snake_case`.
    pub name: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl InvalidSetting {
    /// The setting `name` has `value`, but `expected` is what is needed.
    #[must_use]
    pub fn new(name: &'static str, value: &str, expected: &str) -> Self {
        Self { name, reason: format!("{value:?} is not valid: expected {expected}") }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting {}: {}", self.name, self.reason)
    }
}

impl std::error::Error for InvalidSetting {}

impl From<InvalidSetting> for Problem {
    fn from(error: InvalidSetting) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for InvalidSetting {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// Reads the setting `name` of `system`.
pub(crate) fn read<T: Setting>(system: &dyn System, name: &'static str) -> Result<Option<T>, InvalidSetting> {
    let configured = system.setting(name).map_err(|reason| InvalidSetting {
        name,
        reason: format!("the settings cannot be read: {reason}"),
    })?;
    let is_set = |value: &String| !value.is_empty();
    let value =
        configured.filter(is_set).or_else(|| system.variable(&name.to_ascii_uppercase()).filter(is_set));
    let Some(value) = value else { return Ok(None) };
    let shown = if T::IS_SECRET { "…" } else { &value };
    T::parse(&value).map(Some).map_err(|expected| InvalidSetting::new(name, shown, &expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn a_setting_comes_from_the_configuration_then_from_the_environment() {
        let fake = Fake::new();
        let platform = fake.platform();
        assert_eq!(platform.setting::<u16>("port"), Ok(None));
        fake.variable("PORT", "1");
        assert_eq!(platform.setting_or("port", 7_u16), Ok(1));
        fake.setting("port", "2");
        assert_eq!(platform.setting_or("port", 7_u16), Ok(2), "a change is taken up at once");
        fake.setting("port", "");
        assert_eq!(platform.setting_or("port", 7_u16), Ok(1), "empty means unset");
    }

    #[test]
    fn a_duration_has_a_unit_and_a_bound() {
        for (value, expected) in [("500ms", Some(500)), ("2s", Some(2_000)), ("3600s", Some(3_600_000))] {
            assert_eq!(Duration::parse(value).ok(), expected.map(Duration::from_millis), "{value}");
        }
        for value in ["0s", "3601s", "2", "ms", "-1s", "1m", "2 s", "99999999999999999999s"] {
            assert!(Duration::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn an_error_names_setting_and_value() {
        let fake = Fake::new();
        fake.setting("port", "65536");
        let error = fake.platform().setting::<u16>("port").unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting port: \"65536\" is not valid: expected a number from 0 to 65535"
        );
    }
}
