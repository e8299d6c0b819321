//! The flags of logging.

use clap::{Args, ValueEnum};

/// The format and the level of log lines, and whether there is an access log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogConfig {
    /// Format of log lines [default: text on a terminal, otherwise json]
    #[arg(long, value_name = "FORMAT", env = "WASI_HTTP_HOST_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Lowest level of log lines that are written
    #[arg(long, value_name = "LEVEL", env = "WASI_HTTP_HOST_LOG_LEVEL", default_value_t = LogConfig::default().log_level)]
    pub log_level: tracing::Level,
    /// Whether to write an access log line for each request
    #[arg(long, value_name = "on|off", env = "WASI_HTTP_HOST_ACCESS_LOG", default_value = "on")]
    pub access_log: Switch,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { log_format: None, log_level: tracing::Level::INFO, access_log: Switch::On }
    }
}

/// The format of log lines.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object on each line.
    Json,
    /// Text for people to read.
    Text,
}

/// The value of a flag that enables or disables a feature.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Enabled.
    On,
    /// Disabled.
    Off,
}
