//! The exit codes of the process.

use std::process::ExitCode;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command is complete, or the host was asked to stop and is drained.
    Done,
    /// The command failed.
    Failed,
    /// A flag, a variable or a setting has a value that is not valid, or names a file that cannot be read
    /// (`EX_USAGE` of `sysexits.h`).
    Usage,
    /// A second signal came during the drain, so the process ended immediately, with the same code as by SIGINT.
    Interrupted,
}

impl ExitStatus {
    /// All exit codes, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Usage, Self::Interrupted];

    /// The exit code of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }

    /// What the code means, for the page of exit codes.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => {
                "`serve` received SIGTERM or SIGINT and completed its requests, or received the signal before it served. \
                 `compile` compiled the component. `inspect` found that this host can serve the component. `probe` found \
                 that the host is ready"
            }
            Self::Failed => {
                "the host cannot start: the log's last line names the file, component, address or store. `inspect` found \
                 that this host cannot serve the component. `probe` found no host, or one that is not ready"
            }
            Self::Usage => {
                "a flag, a variable or a setting of the manifest is not valid, or a flag or a variable names a file that cannot \
                 be read; the message names it"
            }
            Self::Interrupted => {
                "a second SIGTERM or SIGINT arrived during the drain: the host exited at once"
            }
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
