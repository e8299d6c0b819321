//! Images that are WebAssembly artifacts. containerd 1.6 cannot store them.

use std::fs;

use containerd_client::{
    services::v1::{
        Container, CreateContainerRequest, container::Runtime, containers_client::ContainersClient,
    },
    tonic::Request,
    with_namespace,
};
use serde_json::json;

use crate::{
    daemon::{Daemon, RUNTIME},
    image::{self, ARTIFACT, gists_wasm},
    serving::client,
};

const TYPES: [&str; 2] =
    ["application/wasm", "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"];

/// Creates a container as CRI does: with the artifact's name as its image, an empty root file system, and a command that
/// has no meaning. `ctr` would fail to unpack the image.
fn create(daemon: &Daemon, id: &str, env: &[String]) {
    let rootfs = daemon.path("empty");
    fs::create_dir_all(&rootfs).unwrap();
    let specification = json!({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 1000, "gid": 1000}, "args": ["whatever"], "env": env, "cwd": "/"},
        "root": {"path": rootfs, "readonly": true},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": format!("/{}/{id}", daemon.namespace()),
            "namespaces": [{"type": "pid"}, {"type": "mount"}],
        },
    });
    let container = Container {
        id: id.to_owned(),
        image: ARTIFACT.to_owned(),
        runtime: Some(Runtime { name: RUNTIME.to_owned(), options: None }),
        spec: Some(prost_types::Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
            value: specification.to_string().into_bytes(),
        }),
        ..Container::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = containerd_client::connect(daemon.path("c.sock")).await.unwrap();
        let namespace = daemon.namespace();
        let request = with_namespace!(CreateContainerRequest { container: Some(container) }, namespace);
        ContainersClient::new(channel).create(request).await.unwrap();
    });
    daemon.remember(id);
}

#[test]
fn each_media_type_of_a_component() {
    for kind in TYPES {
        let daemon = Daemon::start();
        if !daemon.is_2() {
            println!("NOT RUN: this containerd cannot store an artifact");
            return;
        }
        daemon.import(&image::artifact(&[(kind, gists_wasm())]));
        let service = client();
        let admin = format!("WASI_HTTP_HOST_ADMIN_LISTEN={}", client().address());
        create(&daemon, "a", &[format!("PORT={}", service.address().port()), admin]);
        daemon.ctr(&["task", "start", "--detach", "a"]);
        assert!(service.wait_until_ok("/health").text().contains("healthy"), "{kind}");
        assert_eq!(daemon.end("a", "SIGTERM"), 0);
    }
}

#[test]
fn two_components_are_refused() {
    let daemon = Daemon::start();
    if !daemon.is_2() {
        println!("NOT RUN: this containerd cannot store an artifact");
        return;
    }
    daemon.import(&image::artifact(&[(TYPES[0], gists_wasm()), (TYPES[1], b"\0asm".to_vec())]));
    create(&daemon, "a", &[]);
    let error = daemon.refused(&["task", "start", "--detach", "a"]);
    assert!(error.contains(ARTIFACT) && error.contains("2 layers"), "{error}");
}
