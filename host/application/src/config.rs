//! The flags of the application: what it is, its settings, and what bounds it.

use std::path::PathBuf;

use clap::Args;
use wasi_http_host_core::{InvalidSetting, Period, Redacted, assigned_name};
use wasi_http_host_manifest::settings::Assignments;
use wasi_http_host_outbound::OutboundConfig;
use wasi_http_host_runtime::{CodeConfig, InstanceConfig, RequestConfig};

/// What is served, with which settings, and within which bounds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings of the component")]
pub struct ApplicationConfig {
    /// A spin.toml, or a WASI HTTP component (.wasm)
    #[arg(value_name = "spin.toml|app.wasm", default_value = "spin.toml", env = "WASI_HTTP_HOST_APP")]
    pub app: PathBuf,

    /// A setting for the component (wasi:config); may be repeated. For a bare .wasm it declares the key: NAME alone, or
    /// names with commas between them, leave the value to the environment and the settings directory
    #[arg(
        long = "var",
        value_name = "NAME[=VALUE]",
        env = "WASI_HTTP_HOST_VAR",
        hide_env_values = true,
        value_parser = Redacted::<Assignments>::but(assigned_name)
    )]
    pub vars: Vec<Assignments>,
    /// A directory with a setting a file, such as a mounted ConfigMap or Secret
    #[arg(long, value_name = "DIR", env = "WASI_HTTP_HOST_SETTINGS_DIR")]
    pub settings_dir: Option<PathBuf>,
    /// How often that directory is looked at: what has changed in it is taken up without a restart; 0 for never
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_SETTINGS_POLL", default_value_t = ApplicationConfig::default().settings_poll)]
    pub settings_poll: Period,

    /// Compiled code.
    #[command(flatten)]
    pub code: CodeConfig,
    /// Instances.
    #[command(flatten)]
    pub instances: InstanceConfig,
    /// Requests.
    #[command(flatten)]
    pub requests: RequestConfig,
    /// Outbound requests.
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
            outbound: OutboundConfig::default(),
        }
    }
}

impl ApplicationConfig {
    /// What no single value shows.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.instances.validate()?;
        self.requests.validate()?;
        self.outbound.validate()
    }
}
