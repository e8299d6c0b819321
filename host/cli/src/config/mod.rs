//! The flags of `serve`: those of the whole host, and those of each subsystem, which each subsystem's crate defines.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use wasi_http_host_application::ApplicationConfig;
use wasi_http_host_core::{InvalidSetting, Period};
use wasi_http_host_keyvalue::KeyValueConfig;
use wasi_http_host_server::ServerConfig;
use wasi_http_host_telemetry::LogConfig;

use crate::termination_log;

/// The configuration of `serve`. The command line reads it from flags and the environment; tests construct it.
/// [`Config::default`] has all defaults, and the flags take their defaults from there.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true)]
pub struct Config {
    /// Address for requests [default: 127.0.0.1:8080; the variable PORT replaces the default's port]
    #[arg(long, value_name = "ADDR", env = "WASI_HTTP_HOST_LISTEN", help_heading = "Listeners")]
    pub listen: Option<SocketAddr>,
    /// Address for /live, /ready and /metrics
    #[arg(long, value_name = "ADDR", env = "WASI_HTTP_HOST_ADMIN_LISTEN", default_value_t = Config::default().admin_listen, help_heading = "Listeners")]
    pub admin_listen: SocketAddr,
    /// Path of the component's own readiness check; /ready sends a request to this path too
    #[arg(long, value_name = "PATH", env = "WASI_HTTP_HOST_READY_PATH", value_parser = absolute_path, help_heading = "Listeners")]
    pub ready_path: Option<String>,
    /// Path of the component's own metrics; /metrics appends the response of this path
    #[arg(long, value_name = "PATH", env = "WASI_HTTP_HOST_COMPONENT_METRICS", value_parser = absolute_path, help_heading = "Listeners")]
    pub component_metrics: Option<String>,
    /// Watch the manifest and the components' files, and reload the application when they change
    #[arg(long, env = "WASI_HTTP_HOST_WATCH", help_heading = "Compiled code")]
    pub watch: bool,

    /// The application.
    #[command(flatten)]
    pub application: ApplicationConfig,
    /// The main listener's connections.
    #[command(flatten)]
    pub server: ServerConfig,
    /// Key-value stores.
    #[command(flatten)]
    pub keyvalue: KeyValueConfig,

    /// After SIGTERM: how long the host still accepts connections while /ready already fails
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_SHUTDOWN_GRACE", default_value_t = Config::default().shutdown_grace, help_heading = "Shutdown")]
    pub shutdown_grace: Period,
    /// After the grace period: how long requests in flight and background tasks may take
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_DRAIN_TIMEOUT", default_value_t = Config::default().drain_timeout, help_heading = "Shutdown")]
    pub drain_timeout: Period,
    /// File that gets the reason if the command fails: the container's terminationMessagePath. It is written only if it exists
    #[arg(long, value_name = "FILE", env = "WASI_HTTP_HOST_TERMINATION_LOG", default_value = termination_log::DEFAULT, help_heading = "Shutdown")]
    pub termination_log: PathBuf,

    /// The log.
    #[command(flatten)]
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            admin_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090),
            ready_path: None,
            component_metrics: None,
            watch: false,
            application: ApplicationConfig::default(),
            server: ServerConfig::default(),
            keyvalue: KeyValueConfig::default(),
            shutdown_grace: Period::secs(0),
            drain_timeout: Period::secs(30),
            termination_log: PathBuf::from(termination_log::DEFAULT),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// The address for requests: `--listen`, or the default address with the port in `port` (the variable `PORT`).
    ///
    /// # Errors
    /// `port` is not a port number, and `--listen` is not set.
    pub fn main_listener(&self, port: Option<&str>) -> Result<SocketAddr, InvalidSetting> {
        let default = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        match (self.listen, port) {
            (Some(address), _) => Ok(address),
            (None, None | Some("")) => Ok(default(8080)),
            (None, Some(text)) => text.parse().map(default).map_err(|_| InvalidSetting {
                name: "PORT",
                reason: format!("{text:?} is not a port number (0 to 65535)"),
            }),
        }
    }

    /// A configuration that serves `app`, with every other setting at its default.
    #[must_use]
    pub fn serving(app: PathBuf) -> Self {
        let application = ApplicationConfig { app, ..ApplicationConfig::default() };
        Self { application, ..Self::default() }
    }

    /// Checks the combinations of values that clap cannot check.
    ///
    /// # Errors
    /// Names the first setting that is not valid.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.application.validate()?;
        self.server.validate()?;
        self.keyvalue.validate()
    }
}

fn absolute_path(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not a path: it must begin with a slash")),
    }
}

#[cfg(test)]
mod tests;
