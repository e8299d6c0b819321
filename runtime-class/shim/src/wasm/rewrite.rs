//! Rewrites the OCI specification of a WebAssembly container.

use std::path::Path;

use super::{
    app::App,
    layout::{ARTIFACT, CODE, HOST},
    mounts::BindMount,
};
use crate::spec::Spec;

/// Default port for requests. The pod's variable `PORT` overrides it.
const PORT: &str = "8080";
/// Default port for probes and metrics.
const ADMIN_PORT: &str = "9090";
/// The variable that tells the host where to write why it ends.
const TERMINATION_LOG: &str = "WASI_HTTP_HOST_TERMINATION_LOG";

/// Rewrites `spec` so that the host serves `app`. Returns what it mounts.
///
/// On the node, `host` is the host's file and `code` the directory with the app's compiled code. A variable or a flag of
/// the pod wins over the shim's defaults.
pub(super) fn rewrite(spec: &mut Spec, app: &App, host: &Path, code: &Path) -> Vec<BindMount> {
    let mut args = vec![HOST.to_owned(), "serve".to_owned(), app.path.clone()];
    args.extend(app.flags.iter().cloned());
    spec.set_args(args);
    let any = any_address();
    let port = spec.variable("PORT").filter(|port| !port.is_empty()).unwrap_or(PORT);
    let defaults = [
        ("WASI_HTTP_HOST_LISTEN", "--listen", format!("{any}:{port}")),
        ("WASI_HTTP_HOST_ADMIN_LISTEN", "--admin-listen", format!("{any}:{ADMIN_PORT}")),
        ("WASI_HTTP_HOST_CACHE_DIR", "--cache-dir", CODE.to_owned()),
    ];
    for (variable, flag, value) in defaults {
        if spec.variable(variable).is_none() && !has_flag(&app.flags, flag) {
            spec.add_variable(variable, &value);
        }
    }
    // The host's default is the default of `terminationMessagePath`.
    if let Some(path) = spec.termination_log().map(str::to_owned)
        && spec.variable(TERMINATION_LOG).is_none()
        && !has_flag(&app.flags, "--termination-log")
        && path != "/dev/termination-log"
    {
        spec.add_variable(TERMINATION_LOG, &path);
    }
    let mounts = [(Some(host), HOST), (Some(code), CODE), (app.artifact.as_deref(), ARTIFACT)];
    let mounts = mounts
        .into_iter()
        .filter_map(|(source, destination)| Some(BindMount { source: source?.to_owned(), destination }));
    let mounts: Vec<BindMount> = mounts.collect();
    for mount in &mounts {
        spec.add_mount(&mount.source.to_string_lossy(), mount.destination);
    }
    mounts
}

/// Whether `flags` contain `flag`, as `--flag value` or `--flag=value`.
pub(super) fn has_flag(flags: &[String], flag: &str) -> bool {
    flags
        .iter()
        .any(|given| given.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

/// The address to listen at: IPv6 and IPv4 if the kernel has IPv6, else IPv4.
fn any_address() -> &'static str {
    if Path::new("/proc/sys/net/ipv6").exists() { "[::]" } else { "0.0.0.0" }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::PathBuf};

    use serde_json::{Value, json};

    use super::*;

    const HOST_FILE: &str = "/opt/wasi-http/bin/wasi-http-host";
    const CODE_DIRECTORY: &str = "/var/lib/wasi-http/cache/0123";

    fn app(path: &str, flags: &[&str]) -> App {
        App {
            path: path.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            artifact: None,
            entry: None,
            file: File::open("/dev/null").unwrap(),
        }
    }

    fn rewritten(process: &Value, app: &App) -> Value {
        let mut spec = Spec::from_value(json!({
            "ociVersion": "1.1.0",
            "process": process,
            "root": {"path": "rootfs", "readonly": true},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"unknownToUs": {"kept": true}},
        }));
        rewrite(&mut spec, app, Path::new(HOST_FILE), Path::new(CODE_DIRECTORY));
        spec.value().clone()
    }

    fn env(spec: &Value, name: &str) -> Vec<String> {
        let env = spec.pointer("/process/env").unwrap().as_array().unwrap();
        let pairs = env.iter().filter_map(Value::as_str);
        pairs.filter_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned())).collect()
    }

    /// Compares the whole specification: nothing else may change.
    #[test]
    fn a_component_of_the_image() {
        let process = json!({
            "user": {"uid": 1000, "gid": 1000},
            "args": ["/spin.toml", "--log-level", "debug"],
            "env": ["PATH=/bin", "GITHUB_TOKEN=t"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {},
        });
        let any = any_address();
        assert_eq!(
            rewritten(&process, &app("/spin.toml", &["--log-level", "debug"])),
            json!({
                "ociVersion": "1.1.0",
                "process": {
                    "user": {"uid": 1000, "gid": 1000},
                    "args": [HOST, "serve", "/spin.toml", "--log-level", "debug"],
                    "env": [
                        "PATH=/bin",
                        "GITHUB_TOKEN=t",
                        format!("WASI_HTTP_HOST_LISTEN={any}:8080"),
                        format!("WASI_HTTP_HOST_ADMIN_LISTEN={any}:9090"),
                        "WASI_HTTP_HOST_CACHE_DIR=/.wasi-http/cache",
                    ],
                    "cwd": "/",
                    "noNewPrivileges": true,
                    "capabilities": {},
                },
                "root": {"path": "rootfs", "readonly": true},
                "mounts": [
                    {"destination": "/proc", "type": "proc", "source": "proc"},
                    {
                        "destination": "/.wasi-http/wasi-http-host",
                        "type": "bind",
                        "source": HOST_FILE,
                        "options": ["bind", "ro", "nosuid", "nodev"],
                    },
                    {
                        "destination": "/.wasi-http/cache",
                        "type": "bind",
                        "source": CODE_DIRECTORY,
                        "options": ["bind", "ro", "nosuid", "nodev"],
                    },
                ],
                "linux": {"unknownToUs": {"kept": true}},
            })
        );
    }

    #[test]
    fn the_pod_s_port_replaces_the_default() {
        let spec = rewritten(&json!({"args": ["/a.wasm"], "env": ["PORT=3000"]}), &app("/a.wasm", &[]));
        assert_eq!(env(&spec, "WASI_HTTP_HOST_LISTEN"), [format!("{}:3000", any_address())]);
        let spec = rewritten(&json!({"args": ["/a.wasm"], "env": ["PORT="]}), &app("/a.wasm", &[]));
        assert_eq!(env(&spec, "WASI_HTTP_HOST_LISTEN"), [format!("{}:8080", any_address())]);
    }

    #[test]
    fn a_variable_or_flag_of_the_pod_wins() {
        let given = json!({"args": ["/a.wasm"], "env": ["WASI_HTTP_HOST_LISTEN=127.0.0.1:1"]});
        let flags = ["--admin-listen=127.0.0.1:2", "--cache-dir", "/tmp"];
        let spec = rewritten(&given, &app("/a.wasm", &flags));
        assert_eq!(env(&spec, "WASI_HTTP_HOST_LISTEN"), ["127.0.0.1:1"]);
        assert!(env(&spec, "WASI_HTTP_HOST_ADMIN_LISTEN").is_empty());
        assert!(env(&spec, "WASI_HTTP_HOST_CACHE_DIR").is_empty());
    }

    #[test]
    fn another_path_of_the_termination_message_is_passed_on() {
        let path = |destination: &str, variables: &[&str], flags: &[&str]| {
            let mut spec = Spec::from_value(json!({
                "annotations": {"io.kubernetes.cri.container-name": "api"},
                "process": {"args": ["/a.wasm"], "env": variables},
                "mounts": [{"destination": destination, "source": "/var/lib/kubelet/pods/3c1b/containers/api/0a1b2c3d"}],
            }));
            rewrite(&mut spec, &app("/a.wasm", flags), Path::new(HOST_FILE), Path::new(CODE_DIRECTORY));
            env(spec.value(), "WASI_HTTP_HOST_TERMINATION_LOG")
        };
        assert_eq!(path("/why", &[], &[]), ["/why"]);
        assert!(path("/dev/termination-log", &[], &[]).is_empty());
        assert_eq!(path("/why", &["WASI_HTTP_HOST_TERMINATION_LOG=/own"], &[]), ["/own"]);
        assert!(path("/why", &[], &["--termination-log=/own"]).is_empty());
    }

    #[test]
    fn a_longer_flag_with_the_same_prefix_does_not_count() {
        let spec = rewritten(&json!({"args": ["/a.wasm"]}), &app("/a.wasm", &["--listener"]));
        assert_eq!(env(&spec, "WASI_HTTP_HOST_LISTEN").len(), 1);
    }

    #[test]
    fn an_artifact_is_mounted_where_the_host_serves_it() {
        let mut artifact = app(ARTIFACT, &[]);
        artifact.artifact = Some(PathBuf::from("/var/lib/wasi-http/cache/artifacts/ab.wasm"));
        let spec = rewritten(&json!({"args": ["anything"], "env": []}), &artifact);
        assert_eq!(spec.pointer("/process/args/2").unwrap(), ARTIFACT);
        assert_eq!(spec.pointer("/mounts/3/destination").unwrap(), ARTIFACT);
        assert_eq!(spec.pointer("/mounts/3/source").unwrap(), "/var/lib/wasi-http/cache/artifacts/ab.wasm");
    }
}
