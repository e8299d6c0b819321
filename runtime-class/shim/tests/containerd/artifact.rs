//! Images that are WebAssembly artifacts. containerd 1.6 cannot store them.

use std::{fs, process::Stdio, thread};

use containerd_client::{
    services::v1::{
        Container, CreateContainerRequest, CreateImageRequest, Image, container::Runtime,
        containers_client::ContainersClient, images_client::ImagesClient,
    },
    tonic::{Request, transport::Channel},
    types::Descriptor,
    with_namespace,
};
use containerd_shim_protos::{api::CreateTaskRequest, ttrpc::context};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use testkit::wait::eventually;

use crate::{
    daemon::{Daemon, RUNTIME},
    image::{self, ARTIFACT, BUSYBOX, gists_wasm},
    serving::client,
};

const TYPES: [&str; 2] =
    ["application/wasm", "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"];

/// Runs `call` with a connection to the daemon.
fn connected<T>(daemon: &Daemon, call: impl AsyncFnOnce(Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { call(containerd_client::connect(daemon.path("c.sock")).await.unwrap()).await })
}

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
    connected(daemon, async |channel| {
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

/// An index of nearly the largest size that the shim reads. The shim would ask containerd for each of its manifests.
#[test]
fn an_index_of_40_000_manifests_is_refused() {
    let daemon = Daemon::start();
    let manifests: Vec<_> =
        (0..40_000).map(|number| json!({"digest": format!("sha256:{:064x}", number)})).collect();
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let digest: String = Sha256::digest(&index).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    let file = daemon.path("index.json");
    fs::write(&file, &index).unwrap();
    let mut ingest = daemon.command(&["content", "ingest", "--expected-digest", &digest, "index"]);
    let ingested = ingest.stdin(Stdio::from(fs::File::open(&file).unwrap())).output().unwrap();
    assert!(ingested.status.success(), "{ingested:?}");
    connected(&daemon, async |channel| {
        let target = Descriptor {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            digest: digest.clone(),
            size: i64::try_from(index.len()).unwrap(),
            ..Descriptor::default()
        };
        let image = Image { name: ARTIFACT.to_owned(), target: Some(target), ..Image::default() };
        let namespace = daemon.namespace();
        let request = CreateImageRequest { image: Some(image), ..CreateImageRequest::default() };
        ImagesClient::new(channel).create(with_namespace!(request, namespace)).await.unwrap();
    });
    create(&daemon, "a", &[]);
    let error = daemon.refused(&["task", "start", "--detach", "a"]);
    assert!(error.contains(ARTIFACT) && error.contains("40000 manifests"), "{error}");
}

/// The process that fetches an artifact for the shim `shim`.
fn fetcher(shim: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        command.contains("\0wasi-http-artifact\0") && status.contains(&format!("\nPPid:\t{shim}\n"))
    })
}

/// A containerd that does not answer keeps the fetcher waiting. When the shim is killed meanwhile, nobody ends the fetcher at
/// its limit.
#[test]
fn a_fetcher_does_not_outlive_its_shim() {
    let daemon = Daemon::start();
    daemon.import(&image::busybox());
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let shim = daemon.shim("a");
    let bundle = daemon.path("bundle");
    fs::create_dir_all(bundle.join("rootfs")).unwrap();
    let specification =
        json!({"ociVersion": "1.0.2", "process": {"args": ["x"]}, "root": {"path": "rootfs"}});
    fs::write(bundle.join("config.json"), specification.to_string()).unwrap();
    let client = crate::rpc::client(&daemon, "a");
    let frozen = daemon.freeze();
    let mut request = CreateTaskRequest::new();
    request.set_id("b".to_owned());
    request.set_bundle(bundle.to_str().unwrap().to_owned());
    // Fails when the shim is killed.
    let call = thread::spawn(move || client.create(context::with_timeout(60_000_000_000), &request));
    let fetcher = eventually("a fetcher", || fetcher(shim));
    let shim = rustix::process::Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    eventually("the fetcher ends", || {
        let status = fs::read_to_string(format!("/proc/{fetcher}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
    drop(frozen);
    assert!(call.join().unwrap().is_err());
}

/// As `spin registry push` writes it: without a file system, and with a description of the application.
#[test]
fn an_application_in_spin_s_form_is_named() {
    let daemon = Daemon::start();
    if !daemon.is_2() {
        println!("NOT RUN: this containerd cannot store an artifact");
        return;
    }
    let config = json!({
        "architecture": "wasm", "os": "Wasip1", "config": {}, "rootfs": {"type": "layers", "diff_ids": []},
    });
    let layers = [
        ("application/vnd.wasm.content.layer.v1+wasm", gists_wasm()),
        ("application/vnd.fermyon.spin.application.v1+config", b"{\"spin_lock_version\": 1}".to_vec()),
    ];
    daemon.import(&image::Image::new(ARTIFACT, "application/vnd.oci.image.config.v1+json", &config, &layers));
    create(&daemon, "a", &[]);
    let error = daemon.refused(&["task", "start", "--detach", "a"]);
    let what = format!("image {ARTIFACT}: it is an application in the form of `spin registry push`");
    assert!(error.contains(&what) && error.contains("/spin.toml as its entrypoint"), "{error}");
}
