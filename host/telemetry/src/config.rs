//! The flags of the log.

use clap::{Args, ValueEnum};

/// How and what is logged.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogConfig {
    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT", env = "WASI_HTTP_HOST_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The least level that is logged
    #[arg(long, value_name = "LEVEL", env = "WASI_HTTP_HOST_LOG_LEVEL", default_value_t = LogConfig::default().log_level)]
    pub log_level: tracing::Level,
    /// A line a request
    #[arg(long, value_name = "on|off", env = "WASI_HTTP_HOST_ACCESS_LOG", default_value = "on")]
    pub access_log: Switch,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { log_format: None, log_level: tracing::Level::INFO, access_log: Switch::On }
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
