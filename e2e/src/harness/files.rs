//! How many files this process may open: each client's connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets this process open as many files as the system lets it.
pub fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where that fails there are as many as before; what needs more says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
