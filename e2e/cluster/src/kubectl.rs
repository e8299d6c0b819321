//! kubectl. Its output is read as JSON, and errors name the command.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::fail;

/// The time limit of one request to the API server.
const REQUEST_TIMEOUT: &str = "--request-timeout=60s";

/// A kubectl command.
#[derive(Debug, Clone)]
pub struct Kubectl {
    arguments: Vec<String>,
    input: Option<String>,
}

/// `kubectl` with these arguments.
#[must_use]
pub fn kubectl<I: IntoIterator<Item: Into<String>>>(arguments: I) -> Kubectl {
    Kubectl { arguments: arguments.into_iter().map(Into::into).collect(), input: None }
}

impl Kubectl {
    /// Sets the standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Runs the command; returns its standard output.
    ///
    /// # Errors
    /// The command, its exit status and its standard error.
    pub fn run(&self) -> Result<String, String> {
        // This flag comes first: words behind `--` belong to another program.
        let mut command = Self::command(&[REQUEST_TIMEOUT]);
        command.args(&self.arguments);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let named = || format!("kubectl {}", self.arguments.join(" "));
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", named()))?;
        if let (Some(input), Some(mut pipe)) = (&self.input, child.stdin.take()) {
            // If the command ends before it has read everything, its standard error tells why.
            let _ = pipe.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| format!("{}: {error}", named()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}: {}", named(), output.status, said.trim()))
        }
    }

    /// As [`Kubectl::run`], for a command that must succeed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn must(&self) -> String {
        self.run().unwrap_or_else(|refusal| fail(refusal))
    }

    /// Runs the command with `-o json`.
    ///
    /// # Errors
    /// As [`Kubectl::run`], or if the output is no JSON.
    pub fn json(&self) -> Result<Value, String> {
        let mut asked = self.clone();
        asked.arguments.extend(["-o".to_owned(), "json".to_owned()]);
        let text = asked.run()?;
        serde_json::from_str(&text).map_err(|error| format!("kubectl {}: {error}", asked.arguments.join(" ")))
    }

    /// A command that is not started, for output that is read while it runs.
    pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
