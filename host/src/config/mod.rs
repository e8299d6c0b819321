//! Every setting of the host: one typed [`Config`], read from flags and the environment by the command line,
//! built in code by the containerd shim and by tests.

mod stores;
mod tls;
mod units;
mod unshown;

pub use stores::{Secret, StoreSetting};
pub use tls::TlsConfig;
pub use units::{ByteSize, Period};
use unshown::Unshown;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use crate::{
    outbound,
    settings::{Assignments, Template},
};

/// The least that an instance may be bounded to: one page of WebAssembly.
pub(crate) const LEAST_MEMORY: ByteSize = ByteSize::kib(64);
/// The least time for a request: a guest is looked at every few milliseconds.
pub(crate) const LEAST_REQUEST_TIMEOUT: Period = Period::millis(10);

/// What `serve` needs to know. [`Config::default`] has every default; the flags take theirs from it.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true)]
pub struct Config {
    /// A spin.toml, or a WASI HTTP component (.wasm)
    #[arg(value_name = "spin.toml|app.wasm", default_value = "spin.toml", env = "WASI_HTTP_HOST_APP")]
    pub app: PathBuf,

    /// Where requests are answered [default: 127.0.0.1:8080; the variable PORT replaces the default's port]
    #[arg(long, value_name = "ADDR", env = "WASI_HTTP_HOST_LISTEN", help_heading = "Listeners")]
    pub listen: Option<SocketAddr>,
    /// Where /live, /ready and /metrics are answered
    #[arg(long, value_name = "ADDR", env = "WASI_HTTP_HOST_ADMIN_LISTEN", default_value_t = Config::default().admin_listen, help_heading = "Listeners")]
    pub admin_listen: SocketAddr,
    /// The component's own readiness: /ready asks it for this path too
    #[arg(long, value_name = "PATH", env = "WASI_HTTP_HOST_READY_PATH", value_parser = absolute_path, help_heading = "Listeners")]
    pub ready_path: Option<String>,
    /// The component's own metrics: /metrics appends what it answers at this path
    #[arg(long, value_name = "PATH", env = "WASI_HTTP_HOST_COMPONENT_METRICS", value_parser = absolute_path, help_heading = "Listeners")]
    pub component_metrics: Option<String>,
    /// TLS on the main listener.
    #[command(flatten)]
    pub tls: TlsConfig,

    /// A setting for the component (wasi:config); may be repeated. For a bare .wasm it declares the key: NAME alone, or
    /// names with commas between them, leave the value to the environment and the settings directory
    #[arg(
        long = "var",
        value_name = "NAME[=VALUE]",
        env = "WASI_HTTP_HOST_VAR",
        hide_env_values = true,
        value_parser = Unshown::<Assignments>::but(unshown::name),
        help_heading = "Settings of the component"
    )]
    pub vars: Vec<Assignments>,
    /// A directory with a setting a file, such as a mounted ConfigMap or Secret
    #[arg(
        long,
        value_name = "DIR",
        env = "WASI_HTTP_HOST_SETTINGS_DIR",
        help_heading = "Settings of the component"
    )]
    pub settings_dir: Option<PathBuf>,
    /// How often that directory is looked at: what has changed in it is taken up without a restart; 0 for never
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_SETTINGS_POLL", default_value_t = Config::default().settings_poll, help_heading = "Settings of the component")]
    pub settings_poll: Period,

    /// Serve what the manifest and the components' files become, as soon as they change
    #[arg(long, env = "WASI_HTTP_HOST_WATCH", help_heading = "Compiled code")]
    pub watch: bool,
    /// Where compiled code is kept [default: wasi-http-host under the user's cache directory]
    #[arg(long, value_name = "DIR", env = "WASI_HTTP_HOST_CACHE_DIR", help_heading = "Compiled code")]
    pub cache_dir: Option<PathBuf>,
    /// Compile at each start, and keep nothing
    #[arg(long, env = "WASI_HTTP_HOST_NO_CACHE", help_heading = "Compiled code")]
    pub no_cache: bool,

    /// Threads that serve requests [default: one a core]
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_THREADS", help_heading = "Instances")]
    pub threads: Option<NonZeroUsize>,
    /// Instances that may live at once, shared out evenly among the threads
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_INSTANCES", default_value_t = Config::default().max_instances, help_heading = "Instances")]
    pub max_instances: NonZeroU32,
    /// Linear memory that an instance may use, all its memories together
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_MEMORY", default_value_t = Config::default().max_memory, help_heading = "Instances")]
    pub max_memory: ByteSize,
    /// Requests that an instance serves before it is replaced [default: 10000; 1, which is a fresh instance for each,
    /// where the component is a wasi:http@0.2 proxy: tool chains of that generation build on it]
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_INSTANCE_MAX_REQUESTS", help_heading = "Instances")]
    pub instance_max_requests: Option<NonZeroUsize>,
    /// Requests that an instance serves at once
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_INSTANCE_MAX_CONCURRENCY", default_value_t = Config::default().instance_max_concurrency, help_heading = "Instances")]
    pub instance_max_concurrency: NonZeroUsize,
    /// How long an instance without work is kept
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_INSTANCE_IDLE_TIMEOUT", default_value_t = Config::default().instance_idle_timeout, help_heading = "Instances")]
    pub instance_idle_timeout: Period,
    /// How long a component's tasks may run on after its last response is out
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_BACKGROUND_TIMEOUT", default_value_t = Config::default().background_timeout, help_heading = "Instances")]
    pub background_timeout: Period,

    /// From a request's head to its response's head, waiting included: 503 or 504 after it
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_REQUEST_TIMEOUT", default_value_t = Config::default().request_timeout, help_heading = "Requests")]
    pub request_timeout: Period,
    /// For the whole of a response's body
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_RESPONSE_TIMEOUT", default_value_t = Config::default().response_timeout, help_heading = "Requests")]
    pub response_timeout: Period,
    /// Requests that are served at once
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_CONCURRENT_REQUESTS", default_value_t = Config::default().max_concurrent_requests, help_heading = "Requests")]
    pub max_concurrent_requests: NonZeroUsize,
    /// Requests that may wait for one of these places: 503 beyond them
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_QUEUED_REQUESTS", default_value_t = Config::default().max_queued_requests, help_heading = "Requests")]
    pub max_queued_requests: usize,
    /// How long they may wait: 503 after it
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_QUEUE_TIMEOUT", default_value_t = Config::default().queue_timeout, help_heading = "Requests")]
    pub queue_timeout: Period,
    /// Bytes of a request's body: 413 beyond them
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_REQUEST_BODY", default_value_t = Config::default().max_request_body, help_heading = "Requests")]
    pub max_request_body: ByteSize,
    /// How long a body, in either direction, may stand still
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_BODY_IDLE_TIMEOUT", default_value_t = Config::default().body_idle_timeout, help_heading = "Requests")]
    pub body_idle_timeout: Period,

    /// Connections that may be open at once: others wait to be accepted
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_CONNECTIONS", default_value_t = Config::default().max_connections, help_heading = "Connections")]
    pub max_connections: NonZeroUsize,
    /// For a request's head, from its first byte
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_HEADER_TIMEOUT", default_value_t = Config::default().header_timeout, help_heading = "Connections")]
    pub header_timeout: Period,
    /// How long a connection without a request is kept
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEEP_ALIVE_TIMEOUT", default_value_t = Config::default().keep_alive_timeout, help_heading = "Connections")]
    pub keep_alive_timeout: Period,
    /// Bytes of a request's head: 431 beyond them
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_HEADER_BYTES", default_value_t = Config::default().max_header_bytes, help_heading = "Connections")]
    pub max_header_bytes: ByteSize,

    /// Where the component may send requests, beside its manifest's allowed_outbound_hosts and in the same syntax,
    /// {{ variables }} included; may be repeated
    #[arg(
        long = "allowed-outbound-host",
        value_name = "URL",
        env = "WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST",
        value_delimiter = ',',
        hide_env_values = true,
        value_parser = Unshown::<Template>::but(outbound::without_password),
        help_heading = "Outbound"
    )]
    pub allowed_outbound_hosts: Vec<Template>,
    /// Addresses that listed names may resolve to although they are private, such as the cluster's; may be repeated
    #[arg(
        long,
        value_name = "CIDR",
        env = "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR",
        value_delimiter = ',',
        help_heading = "Outbound"
    )]
    pub outbound_allow_cidr: Vec<ipnet::IpNet>,
    /// For a connection to be made, name resolution and TLS included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_CONNECT_TIMEOUT", default_value_t = Config::default().outbound_connect_timeout, help_heading = "Outbound")]
    pub outbound_connect_timeout: Period,
    /// From a request to the head of its response
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_FIRST_BYTE_TIMEOUT", default_value_t = Config::default().outbound_first_byte_timeout, help_heading = "Outbound")]
    pub outbound_first_byte_timeout: Period,
    /// For a whole exchange, bodies included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_OUTBOUND_TOTAL_TIMEOUT", default_value_t = Config::default().outbound_total_timeout, help_heading = "Outbound")]
    pub outbound_total_timeout: Period,
    /// Bytes of a response's body
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_OUTBOUND_RESPONSE_BODY", default_value_t = Config::default().max_outbound_response_body, help_heading = "Outbound")]
    pub max_outbound_response_body: ByteSize,
    /// Outbound requests of a component that are in flight at once
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_OUTBOUND_MAX_CONCURRENCY", default_value_t = Config::default().outbound_max_concurrency, help_heading = "Outbound")]
    pub outbound_max_concurrency: NonZeroUsize,
    /// Certificates (PEM) to trust beside the system's; proxies are taken from HTTPS_PROXY, HTTP_PROXY, NO_PROXY
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_OUTBOUND_CA_FILE", help_heading = "Outbound")]
    pub outbound_ca_file: Option<PathBuf>,

    /// A store in Redis for the component, under a name of its own; may be repeated. Its password comes by one of the
    /// next two, not in the URL
    #[arg(
        long = "keyvalue-store",
        value_name = "NAME=redis[s]://[USER@]HOST[:PORT][/DB]",
        env = "WASI_HTTP_HOST_KEYVALUE_STORE",
        value_delimiter = ',',
        hide_env_values = true,
        help_heading = "Key-value store"
    )]
    pub keyvalue_stores: Vec<StoreSetting>,
    /// Redis's password; better in the environment, where other users of the machine do not see it
    #[arg(
        long,
        value_name = "TEXT",
        env = "WASI_HTTP_HOST_KEYVALUE_PASSWORD",
        hide_env_values = true,
        help_heading = "Key-value store"
    )]
    pub keyvalue_password: Option<Secret>,
    /// A file with Redis's password, such as a mounted Secret's; read again for each connection
    #[arg(
        long,
        value_name = "FILE",
        env = "WASI_HTTP_HOST_KEYVALUE_PASSWORD_FILE",
        help_heading = "Key-value store"
    )]
    pub keyvalue_password_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's, for rediss://
    #[arg(
        long,
        value_name = "FILE",
        env = "WASI_HTTP_HOST_KEYVALUE_CA_FILE",
        help_heading = "Key-value store"
    )]
    pub keyvalue_ca_file: Option<PathBuf>,
    /// A certificate (PEM) of our own for rediss://, where the server wants one; read again for each connection
    #[arg(
        long,
        value_name = "FILE",
        env = "WASI_HTTP_HOST_KEYVALUE_CLIENT_CERTIFICATE",
        help_heading = "Key-value store"
    )]
    pub keyvalue_client_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "WASI_HTTP_HOST_KEYVALUE_CLIENT_KEY",
        help_heading = "Key-value store"
    )]
    pub keyvalue_client_key: Option<PathBuf>,
    /// What all keys in Redis begin with, where several applications share a database
    #[arg(long, value_name = "TEXT", env = "WASI_HTTP_HOST_KEYVALUE_PREFIX", default_value_t = Config::default().keyvalue_prefix, help_heading = "Key-value store")]
    pub keyvalue_prefix: String,
    /// How long a key in Redis is kept after its last write: what a component forgot, or died with, goes after it
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_TTL", default_value_t = Config::default().keyvalue_ttl, help_heading = "Key-value store")]
    pub keyvalue_ttl: Period,
    /// For a connection to Redis, name resolution and authentication included
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_CONNECT_TIMEOUT", default_value_t = Config::default().keyvalue_connect_timeout, help_heading = "Key-value store")]
    pub keyvalue_connect_timeout: Period,
    /// For Redis's answer to a command: the component gets an error after it
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_TIMEOUT", default_value_t = Config::default().keyvalue_timeout, help_heading = "Key-value store")]
    pub keyvalue_timeout: Period,
    /// Commands that wait for Redis's answers at once, a thread: an error beyond them
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_KEYVALUE_MAX_CONCURRENCY", default_value_t = Config::default().keyvalue_max_concurrency, help_heading = "Key-value store")]
    pub keyvalue_max_concurrency: NonZeroUsize,
    /// Bytes that the process may keep in memory of what it has read from each store in Redis, shared out to its
    /// threads, kept right by the server (client-side caching, Redis 6 or later); 0 for none
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_KEYVALUE_CACHE_BYTES", default_value_t = Config::default().keyvalue_cache_bytes, help_heading = "Key-value store")]
    pub keyvalue_cache_bytes: ByteSize,
    /// For how long at most, should a change not be told: a key that expires is told late
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_KEYVALUE_CACHE_MAX_AGE", default_value_t = Config::default().keyvalue_cache_max_age, help_heading = "Key-value store")]
    pub keyvalue_cache_max_age: Period,
    /// Bytes that the key-value store in memory may hold
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_KEYVALUE_MAX_BYTES", default_value_t = Config::default().keyvalue_max_bytes, help_heading = "Key-value store")]
    pub keyvalue_max_bytes: ByteSize,

    /// After SIGTERM: how long connections are still accepted, while /ready already fails
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_SHUTDOWN_GRACE", default_value_t = Config::default().shutdown_grace, help_heading = "Shutdown")]
    pub shutdown_grace: Period,
    /// Then: how long running requests and background tasks may take
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_DRAIN_TIMEOUT", default_value_t = Config::default().drain_timeout, help_heading = "Shutdown")]
    pub drain_timeout: Period,

    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT", env = "WASI_HTTP_HOST_LOG_FORMAT", help_heading = "Logs")]
    pub log_format: Option<LogFormat>,
    /// The least level that is logged
    #[arg(long, value_name = "LEVEL", env = "WASI_HTTP_HOST_LOG_LEVEL", default_value_t = Config::default().log_level, help_heading = "Logs")]
    pub log_level: tracing::Level,
    /// A line a request
    #[arg(
        long,
        value_name = "on|off",
        env = "WASI_HTTP_HOST_ACCESS_LOG",
        default_value = "on",
        help_heading = "Logs"
    )]
    pub access_log: Switch,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            app: PathBuf::from("spin.toml"),
            listen: None,
            admin_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090),
            ready_path: None,
            component_metrics: None,
            tls: TlsConfig::default(),
            vars: Vec::new(),
            settings_dir: None,
            settings_poll: Period::secs(5),
            watch: false,
            cache_dir: None,
            no_cache: false,
            threads: None,
            max_instances: const { NonZeroU32::new(256).unwrap() },
            max_memory: ByteSize::mib(128),
            instance_max_requests: None,
            instance_max_concurrency: const { NonZeroUsize::new(32).unwrap() },
            instance_idle_timeout: Period::secs(30),
            background_timeout: Period::secs(30),
            request_timeout: Period::secs(30),
            response_timeout: Period::secs(300),
            max_concurrent_requests: const { NonZeroUsize::new(1024).unwrap() },
            max_queued_requests: 1024,
            queue_timeout: Period::secs(5),
            max_request_body: ByteSize::mib(10),
            body_idle_timeout: Period::secs(30),
            max_connections: const { NonZeroUsize::new(8192).unwrap() },
            header_timeout: Period::secs(10),
            keep_alive_timeout: Period::secs(75),
            max_header_bytes: ByteSize::kib(32),
            allowed_outbound_hosts: Vec::new(),
            outbound_allow_cidr: Vec::new(),
            outbound_connect_timeout: Period::secs(5),
            outbound_first_byte_timeout: Period::secs(30),
            outbound_total_timeout: Period::secs(60),
            max_outbound_response_body: ByteSize::mib(64),
            outbound_max_concurrency: const { NonZeroUsize::new(256).unwrap() },
            outbound_ca_file: None,
            keyvalue_stores: Vec::new(),
            keyvalue_password: None,
            keyvalue_password_file: None,
            keyvalue_ca_file: None,
            keyvalue_client_certificate: None,
            keyvalue_client_key: None,
            keyvalue_prefix: String::new(),
            keyvalue_ttl: Period::secs(48 * 3600),
            keyvalue_connect_timeout: Period::secs(1),
            keyvalue_timeout: Period::millis(500),
            keyvalue_max_concurrency: const { NonZeroUsize::new(256).unwrap() },
            keyvalue_cache_bytes: ByteSize::mib(32),
            keyvalue_cache_max_age: Period::secs(10),
            keyvalue_max_bytes: ByteSize::mib(64),
            shutdown_grace: Period::secs(0),
            drain_timeout: Period::secs(30),
            log_format: None,
            log_level: tracing::Level::INFO,
            access_log: Switch::On,
        }
    }
}

/// A setting's value that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid value for {name}: {reason}")]
pub struct Invalid {
    /// The flag or variable.
    pub name: &'static str,
    /// What is wrong, with the value.
    pub reason: String,
}

impl Config {
    /// Where requests are answered: `--listen`, else the default with the port that `port` (the variable `PORT`) names.
    ///
    /// # Errors
    /// When `port` is no port number and `--listen` does not make it irrelevant.
    pub fn main_listener(&self, port: Option<&str>) -> Result<SocketAddr, Invalid> {
        let default = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        match (self.listen, port) {
            (Some(address), _) => Ok(address),
            (None, None | Some("")) => Ok(default(8080)),
            (None, Some(text)) => text.parse().map(default).map_err(|_| Invalid {
                name: "PORT",
                reason: format!("{text:?} is no port number (0 to 65535)"),
            }),
        }
    }

    /// Threads that serve: `--threads`, else one a core, and none without an instance, for it could serve nothing.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let instances = usize::try_from(self.max_instances.get()).unwrap_or(usize::MAX);
        self.threads.map_or(cores, usize::from).min(instances)
    }

    /// What no single value shows: the smallest head that the HTTP implementation can limit to, and the like.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), Invalid> {
        let at_least = |name, value: Period, least: Period| {
            if value < least {
                return Err(Invalid { name, reason: format!("{value} is less than {least}") });
            }
            Ok(())
        };
        at_least("--request-timeout", self.request_timeout, LEAST_REQUEST_TIMEOUT)?;
        at_least("--response-timeout", self.response_timeout, Period::millis(10))?;
        at_least("--header-timeout", self.header_timeout, Period::millis(10))?;
        at_least("--keep-alive-timeout", self.keep_alive_timeout, Period::millis(10))?;
        at_least("--body-idle-timeout", self.body_idle_timeout, Period::millis(10))?;
        at_least("--outbound-connect-timeout", self.outbound_connect_timeout, Period::millis(1))?;
        at_least("--outbound-first-byte-timeout", self.outbound_first_byte_timeout, Period::millis(1))?;
        at_least("--outbound-total-timeout", self.outbound_total_timeout, Period::millis(1))?;
        at_least("--keyvalue-ttl", self.keyvalue_ttl, Period::secs(1))?;
        at_least("--keyvalue-timeout", self.keyvalue_timeout, Period::millis(10))?;
        at_least("--keyvalue-connect-timeout", self.keyvalue_connect_timeout, Period::millis(10))?;
        self.tls.validate()?;
        self.remote_stores()?;
        if self.keyvalue_password.is_some() && self.keyvalue_password_file.is_some() {
            return Err(Invalid {
                name: "--keyvalue-password-file",
                reason: "--keyvalue-password is set too: want one of them".to_owned(),
            });
        }
        if self.keyvalue_client_certificate.is_some() != self.keyvalue_client_key.is_some() {
            return Err(Invalid {
                name: "--keyvalue-client-certificate",
                reason: "want it together with --keyvalue-client-key".to_owned(),
            });
        }
        if self.max_header_bytes < ByteSize::bytes(256) || self.max_header_bytes > ByteSize::mib(1) {
            return Err(Invalid {
                name: "--max-header-bytes",
                reason: format!("{} is not between 256 and 1MiB", self.max_header_bytes),
            });
        }
        if self.max_memory < LEAST_MEMORY {
            return Err(Invalid {
                name: "--max-memory",
                reason: format!("{} is less than one page ({LEAST_MEMORY})", self.max_memory),
            });
        }
        Ok(())
    }
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// On or off.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It happens.
    On,
    /// It does not.
    Off,
}

fn absolute_path(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no path: it must begin with a slash")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory as _, FromArgMatches as _};

    fn parse(args: &[&str]) -> Result<Config, clap::Error> {
        let command = Config::augment_args(Command::new("serve").no_binary_name(true));
        Config::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    #[test]
    fn the_flags_defaults_are_the_types() {
        assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_bad_value_is_named() {
        for (flag, value) in [
            ("--listen", "localhost"),
            ("--max-instances", "0"),
            ("--request-timeout", "10"),
            ("--max-memory", "lots"),
            ("--ready-path", "ready"),
            ("--allowed-outbound-host", "https://{{ Host }}"),
            ("--outbound-allow-cidr", "10.0.0.0/33"),
            ("--access-log", "maybe"),
        ] {
            let error = parse(&[flag, value]).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn every_flag_has_its_variable() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            _config: Config,
        }
        for arg in
            Cli::command().get_arguments().filter(|arg| arg.get_long().is_some_and(|long| long != "help"))
        {
            let long = arg.get_long().unwrap_or_default();
            let expected = format!("WASI_HTTP_HOST_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(&*expected), "--{long}");
        }
    }

    #[test]
    fn port_replaces_the_defaults_port_only() {
        let mut config = Config::default();
        assert_eq!(config.main_listener(None).unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(config.main_listener(Some("3000")).unwrap().to_string(), "127.0.0.1:3000");
        assert!(config.main_listener(Some("http")).unwrap_err().to_string().contains("PORT"));
        config.listen = "0.0.0.0:80".parse().ok();
        assert_eq!(config.main_listener(Some("http")).unwrap().to_string(), "0.0.0.0:80");
    }
}
