//! Releases of Helm.

use std::io::Write as _;
use std::process::{Command, Stdio};

use cluster_e2e::{Namespace, fail};
use serde_json::Value;

/// A release in a namespace.
pub(crate) struct Release<'a> {
    /// The program.
    pub(crate) helm: &'a str,
    pub(crate) namespace: &'a Namespace,
    pub(crate) name: &'a str,
    /// The directory of the chart below `charts`.
    pub(crate) chart: &'a str,
}

impl Release<'_> {
    /// Installs or upgrades with these values.
    #[track_caller]
    pub(crate) fn upgrade(&self, values: &Value) {
        let chart = testkit::paths::workspace().join("charts").join(self.chart);
        self.run(&["upgrade", "--install", self.name, &chart.to_string_lossy(), "--values", "-"], values);
    }

    /// Goes back to a revision, as text.
    #[track_caller]
    pub(crate) fn rollback(&self, revision: &str) {
        self.run(&["rollback", self.name, revision], &Value::Null);
    }

    #[track_caller]
    pub(crate) fn uninstall(&self) {
        self.run(&["uninstall", self.name], &Value::Null);
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], input: &Value) {
        let mut child = Command::new(self.helm)
            .args(arguments)
            .args(["--namespace", self.namespace.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| fail(format!("{}: {error}", self.helm)));
        // Helm may end before it has read its input.
        let _ = child.stdin.take().unwrap().write_all(input.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {}: {said}", self.helm, output.status);
    }
}
