//! The service's settings. Each instance reads them once; every value is typed and bounded. An error names the
//! setting and never shows its value.
//!
//! To add a setting, add its row to [`table`] and its field to [`Settings`], then run `scripts/generate`.

pub mod table;
mod value;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::crypto::signing_key::SigningKey;
use crate::ports::Configuration;
use crate::settings::table::Setting;
pub use crate::settings::value::{Origin, Secret};

/// All settings, in the order of [`table::ALL`], which explains each of them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// [`table::GITHUB_API_URL`]
    pub github: Origin,
    /// [`table::GITHUB_API_PATH`], without a slash at its end.
    pub github_path: String,
    /// [`table::GITHUB_TOKEN`]
    pub github_token: Option<Secret>,
    /// [`table::GITHUB_APP_ID`], [`table::GITHUB_APP_INSTALLATION_ID`] and [`table::GITHUB_APP_PRIVATE_KEY`]; `None` if
    /// none of them is set. Never together with `github_token`.
    pub github_app: Option<GitHubApp>,
    /// [`table::GITHUB_API_VERSION`]
    pub github_api_version: String,
    /// [`table::GITHUB_RATE_LIMIT_RESERVE`], 0 to 90 percent.
    pub github_rate_limit_reserve: u64,
    /// [`table::CACHE_TTL`], before jitter; whole seconds, 1 s to one year.
    pub cache_ttl: Duration,
    /// [`table::CACHE_REFETCH_AFTER`], 1 s to one year.
    pub cache_refetch_after: Duration,
    /// [`table::CACHE_ENTRIES`], 1 to 100,000,000.
    pub cache_entries: u64,
    /// [`table::CACHE_STORE`]
    pub cache_store: String,
    /// [`table::METRICS_STORE`]
    pub metrics_store: String,
    /// [`table::ADMIN_TOKEN`]
    pub admin_token: Option<Secret>,
    /// [`table::UPSTREAM_TIMEOUT`], 0.1 to 300 s.
    pub upstream_timeout: Duration,
    /// [`table::UPSTREAM_CONCURRENCY`], 1 to 1000.
    pub upstream_concurrency: u32,
    /// [`table::CORS_ALLOW_ORIGIN`]; `None` if the header is switched off.
    pub cors_allow_origin: Option<String>,
    /// [`table::APP_VERSION`]
    pub app_version: String,
    /// [`table::CLUSTER_NAME`]; empty if not set.
    pub cluster_name: String,
    /// [`table::POD_NAME`]; empty if not set.
    pub pod_name: String,
}

/// An installation of a GitHub App, as which the service asks GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHubApp {
    /// The app's id or client ID: letters, digits, `.`, `-` and `_`.
    pub id: String,
    /// The installation's number, in decimal digits.
    pub installation: String,
    /// Signs the requests for tokens.
    pub key: SigningKey,
}

/// A setting is invalid or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// What the value must be, to complete "must be …". It never contains the value.
    pub expected: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting '{}' must be {}", self.setting, self.expected)
    }
}

impl std::error::Error for SettingsError {}

/// The longest value that is accepted, in bytes.
const MAX_VALUE: usize = 4096;

impl Settings {
    /// Reads and parses all settings.
    ///
    /// # Errors
    /// The first setting that cannot be read or is invalid.
    pub fn read(configuration: &impl Configuration) -> Result<Self, SettingsError> {
        const URL: &str = "an http or https URL of scheme, host and port, such as https://api.github.com";
        const STORE: &str = "the name of a store";
        const VISIBLE: &str = "visible characters";
        let reader = Reader(configuration);
        let settings = Self {
            github: reader.parse(table::GITHUB_API_URL, URL, value::origin)?,
            github_path: reader.parse(
                table::GITHUB_API_PATH,
                "empty or a path such as /api/v3",
                value::path_prefix,
            )?,
            github_token: reader.secret(table::GITHUB_TOKEN)?,
            github_app: reader.app()?,
            github_api_version: reader.parse(
                table::GITHUB_API_VERSION,
                "a version such as 2022-11-28",
                value::header_value,
            )?,
            github_rate_limit_reserve: reader.number(table::GITHUB_RATE_LIMIT_RESERVE, 0..=90)?,
            cache_ttl: Duration::from_secs(reader.number(table::CACHE_TTL, 1..=31_536_000)?),
            cache_refetch_after: Duration::from_secs(
                reader.number(table::CACHE_REFETCH_AFTER, 1..=31_536_000)?,
            ),
            cache_entries: reader.number(table::CACHE_ENTRIES, 1..=100_000_000)?,
            cache_store: reader.parse(table::CACHE_STORE, STORE, value::word)?,
            metrics_store: reader.parse(table::METRICS_STORE, STORE, value::word)?,
            admin_token: reader.secret(table::ADMIN_TOKEN)?,
            upstream_timeout: reader.parse(
                table::UPSTREAM_TIMEOUT,
                "seconds from 0.1 to 300",
                value::seconds,
            )?,
            upstream_concurrency: u32::try_from(reader.number(table::UPSTREAM_CONCURRENCY, 1..=1000)?)
                .unwrap_or(u32::MAX),
            cors_allow_origin: reader.clearable(
                table::CORS_ALLOW_ORIGIN,
                "'*', an origin, or empty",
                value::header_value,
            )?,
            app_version: reader.parse(table::APP_VERSION, VISIBLE, value::header_value)?,
            cluster_name: reader.parse(table::CLUSTER_NAME, VISIBLE, value::optional)?,
            pod_name: reader.parse(table::POD_NAME, VISIBLE, value::optional)?,
        };
        match (&settings.github_token, &settings.github_app) {
            (Some(_), Some(_)) => Err(SettingsError {
                setting: table::GITHUB_TOKEN.name,
                expected: format!("empty if {} is set", table::GITHUB_APP_ID.name),
            }),
            _ => Ok(settings),
        }
    }

    /// A hash of whom GitHub takes us for: of the GitHub token, or of the app and its installation, whose tokens change.
    /// Stored validators, the rate-limit gate and failures belong to one credential. 0 stands for requests without one.
    #[must_use]
    pub fn credential(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        match (&self.github_token, &self.github_app) {
            (Some(token), _) => ("github credential", token.reveal()).hash(&mut hasher),
            (None, Some(app)) => ("github app", &app.id, &app.installation).hash(&mut hasher),
            (None, None) => return 0,
        }
        hasher.finish().max(1)
    }
}

/// Reads one setting at a time.
struct Reader<'a, C>(&'a C);

impl<C: Configuration> Reader<'_, C> {
    /// The value as it is set; `None` if it is not set.
    fn raw(&self, setting: Setting) -> Result<Option<String>, SettingsError> {
        let error = |expected: String| SettingsError { setting: setting.name, expected };
        let value = self.0.setting(setting.name).map_err(|reason| error(format!("readable: {reason}")))?;
        match value {
            Some(value) if value.len() > MAX_VALUE => Err(error(format!("at most {MAX_VALUE} bytes long"))),
            value => Ok(value),
        }
    }

    /// The parsed value. An empty value counts as not set, and then the default is parsed.
    fn parse<T>(
        &self,
        setting: Setting,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let value = self.raw(setting)?.filter(|value| !value.is_empty());
        parse(value.as_deref().unwrap_or(setting.default))
            .ok_or_else(|| SettingsError { setting: setting.name, expected: expected.to_owned() })
    }

    /// A whole number within `range`.
    fn number(&self, setting: Setting, range: RangeInclusive<u64>) -> Result<u64, SettingsError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.parse(setting, &expected, |value| value::number(value, &range))
    }

    /// A secret, which has no default.
    fn secret(&self, setting: Setting) -> Result<Option<Secret>, SettingsError> {
        self.parse(setting, "one word of visible characters", |value| match value {
            "" => Some(None),
            value => value::secret(value).map(Some),
        })
    }

    /// The GitHub App, which is set with all of its settings or not at all.
    fn app(&self) -> Result<Option<GitHubApp>, SettingsError> {
        let is_set = |value: String| Some(value).filter(|value| !value.is_empty());
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let id = self.parse(table::GITHUB_APP_ID, "the id of an app: a number, or a client ID", |value| {
            value.bytes().all(is_id).then(|| value.to_owned())
        })?;
        let installation =
            self.parse(table::GITHUB_APP_INSTALLATION_ID, "the number of an installation", |value| {
                value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.to_owned())
            })?;
        let key = self.parse(
            table::GITHUB_APP_PRIVATE_KEY,
            "an RSA private key of 2048, 3072 or 4096 bits in PEM form, without a password",
            |value| match value {
                "" => Some(None),
                value => SigningKey::from_pem(value).map(Some),
            },
        )?;
        let missing = match (is_set(id), is_set(installation), key) {
            (Some(id), Some(installation), Some(key)) => {
                return Ok(Some(GitHubApp { id, installation, key }));
            }
            (None, None, None) => return Ok(None),
            (None, ..) => table::GITHUB_APP_ID,
            (_, None, _) => table::GITHUB_APP_INSTALLATION_ID,
            (.., None) => table::GITHUB_APP_PRIVATE_KEY,
        };
        let expected = "set, because another setting of the GitHub App is".to_owned();
        Err(SettingsError { setting: missing.name, expected })
    }

    /// A setting whose empty value does not mean "not set", but "none".
    fn clearable<T>(
        &self,
        setting: Setting,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        match self.raw(setting)?.as_deref() {
            Some("") => Ok(None),
            value => match parse(value.unwrap_or(setting.default)) {
                Some(parsed) => Ok(Some(parsed)),
                None => Err(SettingsError { setting: setting.name, expected: expected.to_owned() }),
            },
        }
    }
}

#[cfg(test)]
mod tests;
