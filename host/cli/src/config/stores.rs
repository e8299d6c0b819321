//! The settings of stores behind a network.

use std::{convert::Infallible, fmt, str::FromStr};

use super::{Config, Invalid};
use crate::keyvalue::{ClientCertificate, DEFAULT_STORE, Password, RedisAddress, RedisSettings};

/// `NAME=URL`, unread: what is wrong with it is told by [`Config::validate`], which does not repeat the URL, for
/// somebody may have put a password there.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSetting(String);

/// A text that shows itself nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl FromStr for StoreSetting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for StoreSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=<hidden>", self.0.split('=').next().unwrap_or_default())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl Config {
    /// The names and addresses of the stores behind a network.
    ///
    /// # Errors
    /// Names the store that has no fit address, or no fit name.
    pub fn remote_stores(&self) -> Result<Vec<(String, RedisAddress)>, Invalid> {
        let mut stores: Vec<(String, RedisAddress)> = Vec::new();
        for StoreSetting(setting) in &self.keyvalue_stores {
            let invalid = |reason| Invalid { name: "--keyvalue-store", reason };
            let Some((name, url)) = setting.split_once('=') else {
                return Err(invalid("want NAME=redis://HOST[:PORT][/DATABASE]".to_owned()));
            };
            let fit =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !fit {
                return Err(invalid("a name consists of letters, digits, `-`, `_` and `.`".to_owned()));
            }
            if name == DEFAULT_STORE {
                return Err(invalid(format!(
                    "{DEFAULT_STORE:?} is the process's own memory: give the store another name, and name it in the component's settings"
                )));
            }
            if stores.iter().any(|(known, _)| known == name) {
                return Err(invalid(format!("{name:?} is there twice")));
            }
            let address = url.parse().map_err(|error| invalid(format!("{name:?}: {error}")))?;
            stores.push((name.to_owned(), address));
        }
        Ok(stores)
    }

    /// What all of them are given.
    #[must_use]
    pub fn redis_settings(&self) -> RedisSettings {
        let password = match (&self.keyvalue_password, &self.keyvalue_password_file) {
            (_, Some(file)) => Password::File(file.clone()),
            // A variable that is set to nothing is not set: so an optional Secret looks.
            (Some(Secret(text)), None) if !text.is_empty() => Password::Text(text.clone()),
            _ => Password::None,
        };
        RedisSettings {
            prefix: self.keyvalue_prefix.clone(),
            time_to_live: self.keyvalue_ttl.get(),
            connect: self.keyvalue_connect_timeout.get(),
            answer: self.keyvalue_timeout.get(),
            max_in_flight: self.keyvalue_max_concurrency.get(),
            password,
            ca_file: self.keyvalue_ca_file.clone(),
            client_certificate: self
                .keyvalue_client_certificate
                .clone()
                .zip(self.keyvalue_client_key.clone())
                .map(|(certificate, key)| ClientCertificate { certificate, key }),
            cache_bytes: self.keyvalue_cache_bytes.as_usize() / self.thread_count(),
            cache_max_age: self.keyvalue_cache_max_age.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(stores: &[&str]) -> Config {
        let keyvalue_stores = stores.iter().map(|text| text.parse().unwrap()).collect();
        Config { keyvalue_stores, ..Config::default() }
    }

    #[test]
    fn a_store_has_a_name_and_an_address() {
        let stores = config(&["shared=redis://cache", " other=redis://[::1]:7/2"]).remote_stores().unwrap();
        let stores: Vec<_> = stores.iter().map(|(name, address)| format!("{name} {address}")).collect();
        assert_eq!(stores, ["shared redis://cache:6379/0", "other redis://[::1]:7/2"]);
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (stores, part) in [
            (&["redis://cache"][..], "NAME="),
            (&["=redis://cache"], "letters"),
            (&["default=redis://cache"], "process's own memory"),
            (&["a=redis://x", "a=redis://y"], "twice"),
            (&["shared=redis://:hush@cache"], "password does not belong"),
            (&["shared=http://hush"], "scheme"),
            (&["shared=rediss://:hush@cache"], "password does not belong"),
        ] {
            let config = config(stores);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("--keyvalue-store") && error.contains(part), "{error}");
            assert!(!error.contains("hush") && !format!("{config:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_client_certificate_has_its_key() {
        let mut config = Config { keyvalue_client_key: Some("/secret/key".into()), ..Config::default() };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--keyvalue-client-certificate"), "{error}");
        config.keyvalue_client_certificate = Some("/secret/certificate".into());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_password_is_one_and_shows_itself_nowhere() {
        let mut config = Config { keyvalue_password: "hush".parse().ok(), ..Config::default() };
        assert!(matches!(config.redis_settings().password, Password::Text(text) if text == "hush"));
        assert!(!format!("{config:?} {:?}", config.redis_settings()).contains("hush"));
        config.keyvalue_password_file = Some("/secret/password".into());
        assert!(config.validate().unwrap_err().to_string().contains("--keyvalue-password"));
        config.keyvalue_password = "".parse().ok();
        config.keyvalue_password_file = None;
        assert!(matches!(config.redis_settings().password, Password::None), "set to nothing is not set");
    }
}
