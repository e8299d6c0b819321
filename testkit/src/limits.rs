//! Limits of the test's own process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this process's limit of open files to the hard limit: each client's connection is a file.
pub fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If this fails, the old limit stays, and a test that needs more files reports the error.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
