//! Settings of the host that an image brings along, or that a pod may not choose.

use serde_json::{Value, json};
use testkit::wait::eventually;

use crate::{
    daemon::{Daemon, RUNTIME},
    image::{GISTS, Image, gists, gists_files},
    serving::client,
};

const IMAGE: &str = "localhost/own-settings:test";
const OPEN: &str = "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR=0.0.0.0/0";

/// A daemon with an image of the component that says `program` about its program.
fn with_image(program: &Value) -> Daemon {
    let daemon = Daemon::start();
    daemon.import(&Image::configured(IMAGE, &gists_files(), program));
    daemon
}

/// An image cannot open private addresses to its own component, choose the directory of compiled code, or set a flag.
#[test]
fn an_image_does_not_widen_trust() {
    for (program, named) in [
        (
            json!({"Entrypoint": ["/spin.toml"], "Env": ["PATH=/bin", OPEN]}),
            "variable WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR",
        ),
        (
            json!({"Entrypoint": ["/spin.toml"], "Env": ["WASI_HTTP_HOST_CACHE_DIR=/evil"]}),
            "variable WASI_HTTP_HOST_CACHE_DIR",
        ),
        (
            json!({"Entrypoint": ["/spin.toml"], "Cmd": ["--outbound-allow-cidr=0.0.0.0/0"]}),
            "flag --outbound-allow-cidr",
        ),
    ] {
        let daemon = with_image(&program);
        daemon.remember("a");
        let error = daemon.refused(&["run", "--detach", "--runtime", RUNTIME, "--null-io", IMAGE, "a"]);
        assert!(error.contains(&format!("it sets the {named}, which only the pod may set")), "{error}");
        assert!(daemon.compiled().is_empty());
    }
}

/// containerd reads the configuration without regard to the case of its keys.
#[test]
fn an_image_that_containerd_reads_otherwise_is_refused() {
    let daemon = with_image(&json!({"Entrypoint": ["/spin.toml"], "env": ["PATH=/bin", OPEN]}));
    daemon.remember("a");
    let error = daemon.refused(&["run", "--detach", "--runtime", RUNTIME, "--null-io", IMAGE, "a"]);
    assert!(error.contains(r#"the key "env" differs from "Env" in case only"#), "{error}");
    assert!(daemon.compiled().is_empty());
}

/// The pod's own settings win over the image's, and what describes the application comes from the image.
#[test]
fn what_the_pod_sets_and_what_describes_the_application_is_accepted() {
    let program = json!({
        "Entrypoint": ["/spin.toml"],
        "Env": ["WASI_HTTP_HOST_READY_PATH=/health", "WASI_HTTP_HOST_THREADS=64"],
    });
    let daemon = with_image(&program);
    let (service, admin) = (client(), client());
    let listen = format!("WASI_HTTP_HOST_LISTEN={}", service.address());
    let admin_listen = format!("WASI_HTTP_HOST_ADMIN_LISTEN={}", admin.address());
    let mut flags = vec!["--net-host"];
    for pair in [listen.as_str(), &admin_listen, "WASI_HTTP_HOST_THREADS=1", OPEN] {
        flags.extend(["--env", pair]);
    }
    daemon.run("a", &flags, IMAGE, &[]);
    service.wait_until_ok("/health");
    assert_eq!(daemon.end("a", "SIGTERM"), 0);
}

/// The operator bounds what a pod may open, and the pod cannot raise the bound.
#[test]
fn a_pod_opens_no_wider_ranges_than_the_nodes_operator_allows() {
    let daemon = Daemon::start_with(&[("WASI_HTTP_SHIM_OUTBOUND_CIDR_CEILING", "10.0.0.0/8")]);
    daemon.import(&gists());
    daemon.run("wide", &["--env", OPEN], GISTS, &[]);
    let reason =
        "0.0.0.0/0 is not within WASI_HTTP_HOST_OUTBOUND_CIDR_CEILING (--outbound-cidr-ceiling) 10.0.0.0/8";
    eventually("the host says why it does not start", || {
        daemon.output("wide").contains(reason).then_some(())
    });

    let own = "WASI_HTTP_HOST_OUTBOUND_CIDR_CEILING=0.0.0.0/0";
    daemon.remember("own");
    let run = ["run", "--detach", "--runtime", RUNTIME, "--null-io", "--env", own, GISTS, "own"];
    let error = daemon.refused(&run);
    assert!(error.contains("only containerd's variable WASI_HTTP_SHIM_OUTBOUND_CIDR_CEILING"), "{error}");

    let (service, admin) = (client(), client());
    let listen = format!("WASI_HTTP_HOST_LISTEN={}", service.address());
    let admin_listen = format!("WASI_HTTP_HOST_ADMIN_LISTEN={}", admin.address());
    let mut flags = vec!["--net-host"];
    for pair in [listen.as_str(), &admin_listen, "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR=10.1.0.0/16"] {
        flags.extend(["--env", pair]);
    }
    daemon.run("narrow", &flags, GISTS, &[]);
    service.wait_until_ok("/health");
    assert_eq!(daemon.end("narrow", "SIGTERM"), 0);
}
