//! kubectl, whose answers are read as JSON and whose refusals name the command.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::fail;

/// No single request may take longer, in seconds; waiting is done by asking again.
const REQUEST_TIMEOUT: &str = "--request-timeout=60s";

/// A kubectl command that is being put together.
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
    /// Gives it this on its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// What it printed.
    ///
    /// # Errors
    /// The command and what it complained of.
    pub fn run(&self) -> Result<String, String> {
        // First, for what follows `--` is another program's.
        let mut command = Self::command(&[REQUEST_TIMEOUT]);
        command.args(&self.arguments);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let named = || format!("kubectl {}", self.arguments.join(" "));
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", named()))?;
        if let (Some(input), Some(mut pipe)) = (&self.input, child.stdin.take()) {
            // A command that ends before it has read all says why on its standard error.
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

    /// What it printed, where it must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn must(&self) -> String {
        self.run().unwrap_or_else(|refusal| fail(refusal))
    }

    /// What it printed with `-o json`.
    ///
    /// # Errors
    /// Its refusal, or that it printed no JSON.
    pub fn json(&self) -> Result<Value, String> {
        let mut asked = self.clone();
        asked.arguments.extend(["-o".to_owned(), "json".to_owned()]);
        let text = asked.run()?;
        serde_json::from_str(&text).map_err(|error| format!("kubectl {}: {error}", asked.arguments.join(" ")))
    }

    /// A command that was not yet started, for what is read while it runs.
    pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
