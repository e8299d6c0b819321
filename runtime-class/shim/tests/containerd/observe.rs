//! Observes processes and containerd's events.

use std::{fs, path::PathBuf, process::Child};

/// A subscription to containerd's events.
pub(crate) struct Events {
    process: Child,
    file: PathBuf,
}

impl Events {
    /// `process` is a running `ctr events` that writes to `file`.
    pub(crate) fn new(process: Child, file: PathBuf) -> Self {
        Self { process, file }
    }

    /// The topics of all events so far.
    pub(crate) fn topics(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let words =
            text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        words.map(str::to_owned).collect()
    }

    /// Whether an event with `topic` has arrived.
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

/// The value of a line of `/proc/PID/status`.
pub(crate) fn process_status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{status}")).trim().to_owned()
}

/// The environment that a process was started with.
pub(crate) fn environment(pid: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let variables =
        text.split(|byte| *byte == 0).map(|variable| String::from_utf8_lossy(variable).into_owned());
    variables.filter(|variable| !variable.is_empty()).collect()
}
