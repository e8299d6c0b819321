//! Every setting of the host: one typed [`Config`], read from flags and the environment by the command line,
//! built in code by the containerd shim and by tests.

mod defaults;
mod derived;
mod least;
mod logs;
mod stores;
mod tls;
mod units;
mod unshown;

pub use derived::Invalid;
pub(crate) use least::{LEAST_MEMORY, LEAST_REQUEST_TIMEOUT};
pub use logs::{LogFormat, Switch};
pub use stores::{Secret, StoreSetting};
pub use tls::TlsConfig;
pub use units::{ByteSize, Period};
use unshown::Unshown;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;

use crate::{
    outbound,
    settings::{Assignments, Template},
};

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

fn absolute_path(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no path: it must begin with a slash")),
    }
}

#[cfg(test)]
mod tests;
