//! The kinds of stores: which there are, which one a URL names, and their flags.

mod file;
mod memory;
mod redis;

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use clap::Args;
use wasi_http_host_core::{ByteSize, DEFAULT_STORE, InvalidSetting};
use wasi_http_host_egress::Resolve;

use self::file::FileStore;
pub use self::{
    file::FileSync,
    memory::{MemoryStore, Usage},
    redis::{InvalidAddress, RedisAddress, RedisConfig, RedisStore},
};
use super::{access::Stores, scope::DefaultScope, store::Store};

/// All kinds. A new kind is added here.
static KINDS: [Kind; 4] = [
    Kind {
        scheme: "memory",
        form: "memory:",
        is_own: true,
        check: |url| if url == "memory:" { Ok(()) } else { Err("nothing may follow memory:".to_owned()) },
        open: |opening| Ok(Arc::new(MemoryStore::new(opening.config.max_bytes.get()))),
    },
    Kind {
        scheme: "redis",
        form: "redis://[USER@]HOST[:PORT][/DATABASE]",
        is_own: false,
        check: check_redis,
        open: open_redis,
    },
    Kind {
        scheme: "rediss",
        form: "rediss://… (with TLS)",
        is_own: false,
        check: check_redis,
        open: open_redis,
    },
    Kind {
        scheme: "file",
        form: "file:PATH",
        is_own: true,
        check: |url| FileStore::path(url).map(drop),
        open: |opening| {
            let path = FileStore::path(opening.url).map_err(|reason| opening.failed(reason))?;
            let store = FileStore::open(path, opening.config.max_bytes.get(), opening.config.file_sync);
            Ok(Arc::new(store.map_err(|reason| opening.failed(reason))?))
        },
    },
];

/// A kind of store.
struct Kind {
    /// The scheme of its URLs.
    scheme: &'static str,
    /// The form of its URLs, for people.
    form: &'static str,
    /// The store belongs to this process alone, so that it can be the default store.
    is_own: bool,
    /// Says what is wrong with a URL. The message must not repeat the URL, which may contain a password.
    check: fn(&str) -> Result<(), String>,
    /// Opens the store. The error says what failed.
    open: fn(&Opening<'_>) -> Result<Arc<dyn Store>, OpenError>,
}

/// What a store is opened with.
struct Opening<'a> {
    name: &'a str,
    url: &'a str,
    config: &'a KeyValueConfig,
    threads: usize,
    resolver: &'a Arc<dyn Resolve>,
}

impl Opening<'_> {
    fn failed(&self, reason: impl fmt::Display) -> OpenError {
        OpenError::Store { name: self.name.to_owned(), reason: reason.to_string() }
    }
}

fn check_redis(url: &str) -> Result<(), String> {
    url.parse::<RedisAddress>().map(drop).map_err(|error| error.to_string())
}

fn open_redis(opening: &Opening<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let address = opening.url.parse::<RedisAddress>().map_err(|error| opening.failed(error))?;
    let (config, resolver) = (&opening.config.redis, opening.resolver.clone());
    let store = RedisStore::new(opening.name, address, config, opening.threads, resolver);
    let store =
        store.map_err(|error| InvalidSetting { name: "--redis-ca-file", reason: error.to_string() })?;
    Ok(Arc::new(store))
}

/// Which stores components may be granted, and within which bounds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Key-value store")]
pub struct KeyValueConfig {
    /// A store for the component, under a name of its own; may be repeated. The URL is memory:,
    /// redis://[USER@]HOST[:PORT][/DATABASE], rediss://… (with TLS), or file:PATH (in memory, and kept in a file). The store "default" is memory: unless it is set
    #[arg(
        long = "keyvalue-store",
        value_name = "NAME=URL",
        env = "WASI_HTTP_HOST_KEYVALUE_STORE",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub stores: Vec<StoreSetting>,
    /// Maximum size of each in-memory store, including those with a file
    #[arg(long = "keyvalue-max-bytes", value_name = "BYTES", env = "WASI_HTTP_HOST_KEYVALUE_MAX_BYTES", default_value_t = KeyValueConfig::default().max_bytes)]
    pub max_bytes: ByteSize,
    /// When a store in a file answers an operation: at once, and the file has the change 100 ms later (interval), or when the
    /// file has the change (always), so that a crash loses nothing that was answered
    #[arg(long = "keyvalue-file-sync", value_name = "interval|always", env = "WASI_HTTP_HOST_KEYVALUE_FILE_SYNC", default_value_t = KeyValueConfig::default().file_sync)]
    pub file_sync: FileSync,
    /// Who shares the keys of the store "default": the components of the application that are granted it, as in Spin, or
    /// nobody (component: each has keys of its own). Other stores are always shared
    #[arg(long = "keyvalue-default-scope", value_name = "application|component", env = "WASI_HTTP_HOST_KEYVALUE_DEFAULT_SCOPE", default_value_t = KeyValueConfig::default().default_scope)]
    pub default_scope: DefaultScope,
    /// Stores in Redis.
    #[command(flatten)]
    pub redis: RedisConfig,
}

impl Default for KeyValueConfig {
    fn default() -> Self {
        Self {
            stores: Vec::new(),
            max_bytes: ByteSize::mib(64),
            file_sync: FileSync::default(),
            default_scope: DefaultScope::default(),
            redis: RedisConfig::default(),
        }
    }
}

/// `NAME=URL` as it was given. [`KeyValueConfig::validate`] checks it. Neither its errors nor `Debug` show the URL, which may contain
/// a password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSetting(String);

impl FromStr for StoreSetting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for StoreSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=<hidden>", self.0.split('=').next().unwrap_or_default())
    }
}

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The store failed.
    #[error("key-value store {name:?}: {reason}")]
    Store {
        /// The store's name.
        name: String,
        /// What failed.
        reason: String,
    },
}

/// A setting that has been read.
struct Named<'a> {
    name: &'a str,
    url: &'a str,
    kind: &'static Kind,
}

impl KeyValueConfig {
    /// Checks the settings as a whole.
    ///
    /// # Errors
    /// Names the first setting that cannot be used.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.named()?;
        self.redis.validate()
    }

    /// The names of the stores that the flags give to every component, whatever its manifest grants: all but the default store.
    ///
    /// # Errors
    /// As [`KeyValueConfig::validate`].
    pub fn granted(&self) -> Result<Vec<String>, InvalidSetting> {
        let names = self.named()?.into_iter().map(|named| named.name.to_owned());
        Ok(names.filter(|name| name != DEFAULT_STORE).collect())
    }

    /// Opens all stores. `except` are names of stores that the caller has. `threads` is the number of threads that will use them.
    ///
    /// # Errors
    /// Says which store cannot be opened, and why.
    pub fn open(
        &self,
        except: &[&str],
        threads: usize,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Stores, OpenError> {
        let mut all = self.named()?;
        if all.iter().all(|named| named.name != DEFAULT_STORE) {
            let [memory, ..] = &KINDS;
            all.push(Named { name: DEFAULT_STORE, url: memory.form, kind: memory });
        }
        let mut stores = Stores::default().scoped(self.default_scope);
        for Named { name, url, kind } in all.into_iter().filter(|named| !except.contains(&named.name)) {
            let store = (kind.open)(&Opening { name, url, config: self, threads, resolver })?;
            stores = stores.with(name, store);
        }
        Ok(stores)
    }

    /// The most bytes that the stores take: their keys and values, the caches of those in Redis, and replies.
    ///
    /// # Errors
    /// As [`KeyValueConfig::validate`].
    pub fn most_bytes(&self) -> Result<u64, InvalidSetting> {
        let stores = self.named()?;
        let has_default = stores.iter().any(|named| named.name == DEFAULT_STORE);
        let own = stores.iter().filter(|named| named.kind.is_own).count() + usize::from(!has_default);
        let remote = stores.iter().filter(|named| !named.kind.is_own).count();
        let replies = if remote == 0 { 0 } else { redis::MAX_ALL_BYTES as u64 };
        let caches = (remote as u64).saturating_mul(self.redis.cache_bytes.get());
        Ok((own as u64).saturating_mul(self.max_bytes.get()).saturating_add(caches).saturating_add(replies))
    }

    fn named(&self) -> Result<Vec<Named<'_>>, InvalidSetting> {
        let mut stores: Vec<Named<'_>> = Vec::new();
        for StoreSetting(setting) in &self.stores {
            let named = named(setting).map_err(invalid)?;
            if stores.iter().any(|known| known.name == named.name) {
                return Err(invalid(format!("{:?} is defined twice", named.name)));
            }
            stores.push(named);
        }
        Ok(stores)
    }
}

fn invalid(reason: String) -> InvalidSetting {
    InvalidSetting { name: "--keyvalue-store", reason }
}

fn named(setting: &str) -> Result<Named<'_>, String> {
    let forms = || KINDS.each_ref().map(|kind| kind.form).join(", ");
    let Some((name, url)) = setting.split_once('=') else {
        return Err(format!("it must be NAME=URL, where the URL is one of: {}", forms()));
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("a name consists of letters, digits, `-`, `_` and `.`".to_owned());
    }
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let kind = KINDS.iter().find(|kind| scheme.as_deref() == Some(kind.scheme));
    let Some(kind) = kind else {
        return Err(format!("{name:?}: the URL has no known scheme; it must be one of: {}", forms()));
    };
    if name == DEFAULT_STORE && !kind.is_own {
        let scheme = kind.scheme;
        return Err(format!(
            "{DEFAULT_STORE:?} is this process's own store and cannot be in {scheme}: give the store another name, and name it in \
             the component's settings"
        ));
    }
    (kind.check)(url).map_err(|reason| format!("{name:?}: {reason}"))?;
    Ok(Named { name, url, kind })
}

#[cfg(test)]
mod tests;
