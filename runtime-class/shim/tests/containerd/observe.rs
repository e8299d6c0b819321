//! What is seen from outside: processes, and events.

use std::{fs, path::PathBuf, process::Child};

/// The events of a daemon from now on.
pub(crate) struct Events {
    process: Child,
    file: PathBuf,
}

impl Events {
    /// Of `ctr events`, which runs and writes to `file`.
    pub(crate) fn new(process: Child, file: PathBuf) -> Self {
        Self { process, file }
    }

    /// The topics so far.
    pub(crate) fn topics(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let words =
            text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        words.map(str::to_owned).collect()
    }

    /// Whether one of `topic` has come.
    pub(crate) fn seen(&self, topic: &str) -> bool {
        self.topics().iter().any(|seen| seen == topic)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line of `/proc/PID/status`, without its name.
pub(crate) fn process_status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{status}")).trim().to_owned()
}

/// The environment a process was started with.
pub(crate) fn environment(pid: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let variables =
        text.split(|byte| *byte == 0).map(|variable| String::from_utf8_lossy(variable).into_owned());
    variables.filter(|variable| !variable.is_empty()).collect()
}
