//! The environment variables that the host reads for itself.
//!
//! Some of them hold secrets, or widen what a component may do. Therefore no variable of a component may have one of
//! these names, and an image may set only those that describe its application.

use std::ffi::OsString;

/// Who may set a variable that the host reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setter {
    /// The image or the pod: the variable describes the application, or grants no more than the manifest can grant.
    Image,
    /// The pod's specification only.
    Pod,
}

/// Each variable that the host reads. `*` at the end of a name stands for any text. The first row that matches counts.
pub static VARIABLES: &[(&str, Setter)] = &[
    ("WASI_HTTP_HOST_APP", Setter::Image),
    ("WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST", Setter::Image),
    ("WASI_HTTP_HOST_COMPONENT_METRICS", Setter::Image),
    ("WASI_HTTP_HOST_LOG_LEVEL", Setter::Image),
    ("WASI_HTTP_HOST_READY_PATH", Setter::Image),
    ("WASI_HTTP_HOST_VAR", Setter::Image),
    ("WASI_HTTP_HOST_*", Setter::Pod),
    ("OTEL_*", Setter::Pod),
    ("HTTP_PROXY", Setter::Pod),
    ("HTTPS_PROXY", Setter::Pod),
    ("NO_PROXY", Setter::Pod),
    ("XDG_CACHE_HOME", Setter::Pod),
    ("HOME", Setter::Image),
    ("NO_COLOR", Setter::Image),
    ("PORT", Setter::Image),
    ("SSL_CERT_DIR", Setter::Image),
    ("SSL_CERT_FILE", Setter::Image),
];

/// Who may set the variable `name`. `None` if the host does not read it. The case of letters does not matter, because
/// the host reads `https_proxy` too.
#[must_use]
pub fn setter(name: &str) -> Option<Setter> {
    let row = VARIABLES.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(prefix) => name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => name.eq_ignore_ascii_case(pattern),
    });
    row.map(|(_, setter)| *setter)
}

/// The value of a variable of the process. All code of the host that reads the environment for the host calls this
/// function.
///
/// # Panics
/// With debug assertions, if `name` is missing in [`VARIABLES`]: a component could read the variable too.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    debug_assert!(setter(name).is_some(), "{name} is missing in the table of the host's variables");
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_and_by_its_prefix() {
        for name in ["WASI_HTTP_HOST_REDIS_PASSWORD", "https_proxy", "OTEL_EXPORTER_OTLP_HEADERS", "otel_x"] {
            assert_eq!(setter(name), Some(Setter::Pod), "{name}");
        }
        for name in ["WASI_HTTP_HOST_VAR", "PORT", "ssl_cert_file"] {
            assert_eq!(setter(name), Some(Setter::Image), "{name}");
        }
        for name in ["", "WASI_HTTP", "PORTS", "MY_HTTPS_PROXY", "GITHUB_TOKEN", "Ä"] {
            assert_eq!(setter(name), None, "{name}");
        }
    }
}
