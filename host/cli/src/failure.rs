//! Why the process ends: one line on standard error, and the same line where Kubernetes shows it.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use wasi_http_host_core::bounded;

use crate::{
    StartError,
    command_line::{CommandLine, kind_of_value},
    exit_code::ExitStatus,
    probe::ProbeError,
    termination_log,
};

/// Bytes of a reason. What a message quotes, for example a component's imports, may be longer.
const REASON_MAX: usize = 4096;

/// The reason why a command failed, and the exit code.
pub struct Failure {
    reason: String,
    status: ExitStatus,
    /// `None`: the command is not the container's first process, whose file this is.
    termination_log: Option<PathBuf>,
}

impl Failure {
    /// The command line or a variable does not parse.
    #[must_use]
    pub fn of_usage(error: &clap::Error, given: &CommandLine) -> Self {
        let reason = given.with_variables(&usage(error, given));
        Self {
            reason: one_line(&reason),
            status: ExitStatus::Usage,
            termination_log: given.termination_log(),
        }
    }

    /// A command failed. `termination_log` is the path in the configuration.
    #[must_use]
    pub fn of_command(error: &StartError, given: &CommandLine, termination_log: Option<PathBuf>) -> Self {
        let status = if error.is_setting() { ExitStatus::Usage } else { ExitStatus::Failed };
        let reason = given.with_variables(&error.to_string());
        Self { reason: one_line(&reason), status, termination_log }
    }

    /// A probe failed.
    #[must_use]
    pub fn of_probe(error: &ProbeError, given: &CommandLine) -> Self {
        let (reason, status) = match error {
            ProbeError::Setting(error) => (given.with_variables(&error.to_string()), ExitStatus::Usage),
            error => (error.to_string(), ExitStatus::Failed),
        };
        Self { reason: one_line(&reason), status, termination_log: None }
    }

    /// Writes the reason to standard error and, unless the command is a probe, to the termination log. Returns the exit
    /// code.
    #[must_use]
    pub fn report(self) -> ExitCode {
        let Self { reason, status, termination_log } = self;
        print(&reason);
        if let Some(termination_log) = termination_log
            && let Err(error) = termination_log::write(&termination_log, &reason)
            && termination_log != Path::new(termination_log::DEFAULT)
        {
            print(&format!("cannot write to --termination-log {}: {error}", termination_log.display()));
        }
        status.into()
    }
}

fn print(message: &str) {
    // Without a working standard error, nothing more can be printed.
    let _ = writeln!(io::stderr(), "wasi-http-host: {message}");
}

/// What clap says, without its usage lines.
fn usage(error: &clap::Error, given: &CommandLine) -> String {
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return "no command: want serve, compile, inspect or probe".to_owned();
        }
        ErrorKind::InvalidUtf8 => {
            if let Some(flag) = given.variable_that_is_not_text() {
                return format!("invalid value for {flag}: it is not UTF-8");
            }
        }
        _ => {}
    }
    let text = error.render().to_string();
    let is_usage = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more information");
    let parts = text.split("\n\n").map(str::trim).take_while(|part| !is_usage(part));
    let text = parts.collect::<Vec<_>>().join("; ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(&**text),
        _ => None,
    };
    let known = error.kind() != ErrorKind::UnknownArgument;
    let Some(argument) = of(ContextKind::InvalidArg).filter(|_| known) else { return text.to_owned() };
    // clap names an argument as `--listen <ADDR>`.
    let flag = argument.split(' ').next().unwrap_or(argument);
    let text = text.replace(&format!("'{argument}'"), flag);
    let wanted = match (error.kind(), &*kind_of_value(flag), of(ContextKind::InvalidValue)) {
        (ErrorKind::ValueValidation, "ADDR", _) => {
            ": want an IP address and a port, such as 127.0.0.1:8080 or [::]:8080"
        }
        (ErrorKind::ValueValidation, "CIDR", _) => ": want a range of addresses, such as 10.0.0.0/8",
        (ErrorKind::ValueValidation, "N", Some("0")) => ": want at least 1",
        (ErrorKind::ValueValidation, "N", _) => ": want a whole number",
        _ => "",
    };
    text + wanted
}

/// One line without control characters, which a terminal or a parser of logs would act on, of at most [`REASON_MAX`]
/// bytes. A text that a message quotes may have any characters.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join(" ").replace(char::is_control, "\u{fffd}");
    bounded(&line, REASON_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;
    use crate::Config;

    /// The reasons of the standard library's parsers ("invalid digit found in string") do not tell what to write.
    #[test]
    fn each_setting_that_does_not_parse_says_what_was_wanted() {
        let command = Config::augment_args(Command::new("serve").no_binary_name(true));
        let mut refused = 0;
        for setting in command.get_arguments().filter(|setting| setting.get_action().takes_values()) {
            let Some(flag) = setting.get_long().map(|long| format!("--{long}")) else { continue };
            for value in ["?", "0"] {
                let assigned = format!("{flag}={value}");
                let Err(error) = command.clone().try_get_matches_from([&assigned]) else { continue };
                let reason = usage(&error, &CommandLine::of_process());
                assert!(reason.starts_with(&format!("invalid value '{value}' for {flag}")), "{reason}");
                let wanted = ["want ", "write ", "expected ", "must ", "[possible values: "];
                assert!(wanted.iter().any(|wanted| reason.contains(wanted)), "{reason}");
                refused += 1;
            }
        }
        assert!(refused > 30, "{refused}");
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length_without_control_characters() {
        assert_eq!(one_line("first\n\n  second \x1b[31m\r\n"), "first second \u{fffd}[31m");
        assert_eq!(one_line(&"é".repeat(3000)).len(), REASON_MAX);
    }
}
