//! The flags of the application: its manifest, its settings and its limits.

use std::path::PathBuf;

use clap::Args;
use wasi_http_host_cache::CacheConfig;
use wasi_http_host_core::{InvalidSetting, Period, Redacted, assigned_name};
use wasi_http_host_manifest::settings::Assignments;
use wasi_http_host_outbound::OutboundConfig;
use wasi_http_host_runtime::{CodeConfig, InstanceConfig, RequestConfig};

/// The application to serve, its settings and its limits.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings of the component")]
pub struct ApplicationConfig {
    /// A spin.toml, or a WASI HTTP component (.wasm)
    #[arg(value_name = "spin.toml|app.wasm", default_value = "spin.toml", env = "WASI_HTTP_HOST_APP")]
    pub app: PathBuf,

    /// A setting for the component (wasi:config); may be repeated. For a bare .wasm this flag declares the setting:
    /// NAME alone, or names with commas between them, leave the value to the environment and the settings directory
    #[arg(
        long = "var",
        value_name = "NAME[=VALUE]",
        env = "WASI_HTTP_HOST_VAR",
        hide_env_values = true,
        value_parser = Redacted::<Assignments>::but(assigned_name)
    )]
    pub vars: Vec<Assignments>,
    /// A directory with one file for each setting, such as a mounted ConfigMap or Secret
    #[arg(long, value_name = "DIR", env = "WASI_HTTP_HOST_SETTINGS_DIR")]
    pub settings_dir: Option<PathBuf>,
    /// How often the settings directory is checked; changed settings are used without a restart; 0 turns this off
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_SETTINGS_POLL", default_value_t = ApplicationConfig::default().settings_poll)]
    pub settings_poll: Period,

    /// The cache of compiled code.
    #[command(flatten)]
    pub code: CodeConfig,
    /// The limits of instances.
    #[command(flatten)]
    pub instances: InstanceConfig,
    /// The limits of requests.
    #[command(flatten)]
    pub requests: RequestConfig,
    /// The response cache.
    #[command(flatten)]
    pub response_cache: CacheConfig,
    /// The limits of outbound requests.
    #[command(flatten)]
    pub outbound: OutboundConfig,
}

impl Default for ApplicationConfig {
    fn default() -> Self {
        Self {
            app: PathBuf::from("spin.toml"),
            vars: Vec::new(),
            settings_dir: None,
            settings_poll: Period::secs(5),
            code: CodeConfig::default(),
            instances: InstanceConfig::default(),
            requests: RequestConfig::default(),
            response_cache: CacheConfig::default(),
            outbound: OutboundConfig::default(),
        }
    }
}

impl ApplicationConfig {
    /// Checks the combinations of values that clap cannot check.
    ///
    /// # Errors
    /// Names the first setting that is not valid.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.instances.validate()?;
        self.requests.validate()?;
        self.response_cache.validate()?;
        self.outbound.validate()
    }
}
