//! The system that a service runs on, with typed settings and structured log lines.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::client::{FetchError, Fetched, Outgoing};
use crate::log::{self, Level};
use crate::settings::{self, InvalidSetting, Setting};
use crate::store::{Store, StoreError};
use crate::system::System;

/// The system that a service runs on. Clones share it.
#[derive(Clone)]
pub struct Platform(Arc<dyn System>);

impl Platform {
    /// The platform on `system`.
    pub fn new(system: impl System + 'static) -> Self {
        Self(Arc::new(system))
    }

    /// Time since an arbitrary fixed moment. Never decreases.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    /// Time since the Unix epoch.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }

    /// 64 unpredictable bits.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.0.random()
    }

    /// The setting `name` (`snake_case`): from `wasi:config`, else from the environment variable of the same name in upper
    /// case. An empty value means unset. The setting is read anew on each call, so a change needs no restart.
    ///
    /// # Errors
    /// The value does not parse. The error names the setting and the value.
    pub fn setting<T: Setting>(&self, name: &'static str) -> Result<Option<T>, InvalidSetting> {
        settings::read(&*self.0, name)
    }

    /// The setting `name`, or `default` if it is not set.
    ///
    /// # Errors
    /// As [`Platform::setting`].
    pub fn setting_or<T: Setting>(&self, name: &'static str, default: T) -> Result<T, InvalidSetting> {
        Ok(self.setting(name)?.unwrap_or(default))
    }

    /// The setting `name`, a URL of scheme `http` or `https` with a host, or `default` if it is not set.
    ///
    /// # Errors
    /// As [`Platform::setting`].
    pub fn origin_or(&self, name: &'static str, default: &str) -> Result<Uri, InvalidSetting> {
        const EXPECTED: &str = "a URL such as http://name:8080";
        let value = self.setting_or(name, default.to_owned())?;
        let url = value.parse::<Uri>().ok();
        url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
            .ok_or_else(|| InvalidSetting::new(name, &value, EXPECTED))
    }

    /// Opens the key-value store `name`.
    ///
    /// # Errors
    /// The system has no such store, or does not grant it.
    pub fn store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        self.0.store(name)
    }

    /// Sends `request` and reads the whole response.
    ///
    /// # Errors
    /// There is no response within the request's limits. A response of any status is no error.
    pub async fn fetch(&self, request: Outgoing) -> Result<Fetched, FetchError> {
        self.0.fetch(request).await
    }

    /// Runs `work` when the response is on its way.
    pub fn after_response(&self, work: impl FnOnce() + Send + 'static) {
        self.0.after_response(Box::new(work));
    }

    /// Writes a log line of JSON with those of `fields` that have a value.
    pub fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        self.0.log(&log::line(level, message, fields));
    }
}
