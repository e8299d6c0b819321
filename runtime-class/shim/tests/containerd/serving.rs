//! Serving a component of an image: the pod's settings, and code that is compiled once.

use std::{fs, thread};

use testkit::{http::blocking::Client, ports::reserve, wait::eventually};

use crate::{
    daemon::{Daemon, with_images},
    image::{BUSYBOX, GISTS},
};

/// A client of an address that is free at the time of the call.
pub(crate) fn client() -> Client {
    Client::http(reserve(), "localhost")
}

/// Starts the component in the machine's network namespace. Returns clients of the component and of the admin port.
#[track_caller]
pub(crate) fn serve(daemon: &Daemon, id: &str, flags: &[&str], command: &[&str]) -> (Client, Client) {
    let (service, admin) = (client(), client());
    let listen = format!("PORT={}", service.address().port());
    let admin_listen = format!("WASI_HTTP_HOST_ADMIN_LISTEN={}", admin.address());
    let mut all = vec!["--net-host", "--env", &listen, "--env", &admin_listen];
    all.extend(flags);
    daemon.run(id, &all, GISTS, command);
    (service, admin)
}

#[test]
fn a_manifest_of_a_scratch_image() {
    let daemon = with_images();
    let (service, admin) = serve(&daemon, "a", &[], &[]);
    assert!(service.wait_until_ok("/health").text().contains("healthy"));
    assert!(admin.wait_until_ok("/metrics").text().contains("wasi_http_host"));
    assert_eq!(daemon.end("a", "SIGTERM"), 0);
}

#[test]
fn a_bare_component_with_flags_of_the_host() {
    let daemon = with_images();
    let (service, _) = serve(&daemon, "a", &[], &["/gists.wasm", "--var", "app_version=by-flag"]);
    assert!(service.wait_until_ok("/ready?verbose").text().contains("by-flag"));
}

#[test]
fn settings_of_the_environment_and_of_mounted_files() {
    let daemon = with_images();
    let settings = daemon.path("settings");
    fs::create_dir(&settings).unwrap();
    fs::write(settings.join("cluster_name"), "by-file").unwrap();
    let mount = format!("type=bind,src={},dst=/settings,options=rbind:ro", settings.display());
    let flags = [
        "--mount",
        &mount,
        "--env",
        "WASI_HTTP_HOST_SETTINGS_DIR=/settings",
        "--env",
        "APP_VERSION=by-variable",
    ];
    let (service, _) = serve(&daemon, "a", &flags, &[]);
    let ready = service.wait_until_ok("/ready?verbose");
    let ready = ready.text();
    assert!(ready.contains("by-variable") && ready.contains("by-file"), "{ready}");
}

/// Two concurrent first starts compile the component once, and later starts do not compile it.
#[test]
fn compiled_once_for_all() {
    let daemon = with_images();
    let services = thread::scope(|scope| {
        let starts: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|id| {
                let (service, log) = (client(), daemon.path(&format!("{id}.out")));
                let mut command =
                    daemon.command(&["run", "--detach", "--runtime", crate::daemon::RUNTIME, "--net-host"]);
                command.args([
                    "--log-uri",
                    &format!("file://{}", log.display()),
                    "--env",
                    &format!("PORT={}", service.address().port()),
                ]);
                command.args([
                    "--env",
                    &format!("WASI_HTTP_HOST_ADMIN_LISTEN={}", client().address()),
                    GISTS,
                    id,
                ]);
                daemon.remember(id);
                scope.spawn(move || (service, command.output().unwrap()))
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect::<Vec<_>>()
    });
    for (service, output) in services {
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), daemon.log());
        service.wait_until_ok("/health");
    }
    let compiled = daemon.compiled();
    let [directory] = compiled.as_slice() else { panic!("{compiled:?}") };
    let files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let before = fs::metadata(file).unwrap().modified().unwrap();
    let (service, _) = serve(&daemon, "c", &[], &[]);
    service.wait_until_ok("/health");
    assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), before, "compiled again");
    assert_eq!(daemon.compiled().len(), 1);
}

/// `runc` leaves the places of its mounts in the root file system, which the container's next task has again.
#[test]
fn a_container_starts_again_on_the_same_root_file_system() {
    let daemon = with_images();
    let (service, _) = serve(&daemon, "a", &[], &[]);
    service.wait_until_ok("/health");
    daemon.ctr(&["task", "kill", "--signal", "SIGTERM", "a"]);
    eventually("the task stops", || (daemon.task("a")?.1 == "STOPPED").then_some(()));
    daemon.ctr(&["task", "delete", "a"]);
    daemon.ctr(&["task", "start", "--detach", "a"]);
    service.wait_until_ok("/health");
    assert_eq!(daemon.end("a", "SIGTERM"), 0);
}

/// A container sees only the code of its own component, and cannot change the code.
#[test]
fn compiled_code_is_root_s_and_read_only() {
    use std::os::unix::fs::MetadataExt as _;
    let daemon = with_images();
    let (service, _) = serve(&daemon, "a", &[], &[]);
    service.wait_until_ok("/health");
    let directory = daemon.compiled().remove(0);
    for path in fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).chain([directory.clone()])
    {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o022), (0, 0), "{}", path.display());
    }
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", daemon.pid("a"))).unwrap();
    let cache = mounts.lines().find(|line| line.contains(" /.wasi-http/cache ")).unwrap();
    let key = directory.file_name().unwrap().to_string_lossy().into_owned();
    let root = cache.split(' ').nth(3).unwrap();
    assert!(root.ends_with(&key), "more than the component's own directory is mounted: {cache}");
    assert!(cache.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{cache}");
}

/// The error is what `kubectl describe pod` shows: the reason, without the compiler's log lines and without colours.
#[test]
fn an_error_names_the_component_that_cannot_be_compiled() {
    let daemon = with_images();
    let error = not_created(&daemon, GISTS, "/broken.wasm");
    let reason = "image of this container: /broken.wasm cannot be compiled: it is not WebAssembly";
    // `ctr` may warn before.
    let last = error.trim_end().lines().last().unwrap_or_default();
    assert!(last.contains(reason), "{error}");
    assert!(!error.contains("INFO") && !error.contains('\x1b'), "{error}");
    assert!(daemon.compiled().is_empty());
}

#[test]
fn an_error_names_the_missing_component() {
    let error = not_created(&with_images(), GISTS, "/absent.wasm");
    assert!(error.contains("no file /absent.wasm"), "{error}");
}

#[test]
fn a_program_that_the_image_lacks_is_named_with_what_the_image_is() {
    let daemon = with_images();
    let wasm = not_created(&daemon, GISTS, "/x");
    assert!(
        wasm.contains("it has no program /x; it holds /broken.wasm, /gists.wasm, /spin.toml: set the"),
        "{wasm}"
    );
    for program in ["/x", "x"] {
        let linux = not_created(&daemon, BUSYBOX, program);
        let what =
            format!("it has no program {program}; it is a Linux image without a WebAssembly component");
        assert!(linux.contains(&what), "{linux}");
    }
}

/// Runs `image` with `program`, which must fail, and returns the error.
#[track_caller]
fn not_created(daemon: &Daemon, image: &str, program: &str) -> String {
    daemon.remember("a");
    let error =
        daemon.refused(&["run", "--detach", "--runtime", crate::daemon::RUNTIME, image, "a", program]);
    // `ctr` leaves the container, whose task could not be created.
    let _ = daemon.try_ctr(&["container", "delete", "a"]);
    error
}

/// The kubelet mounts a file at `/dev/termination-log` and shows the file's content in the container's status.
#[test]
fn the_reason_of_a_failed_start_is_in_the_file_that_the_kubelet_mounts() {
    let daemon = with_images();
    let log = daemon.path("termination");
    fs::write(&log, "").unwrap();
    let mount = format!("type=bind,src={},dst=/dev/termination-log,options=rbind:rw", log.display());
    daemon.run("a", &["--mount", &mount, "--env", "WASI_HTTP_HOST_MAX_MEMORY=lots"], GISTS, &[]);
    assert_eq!(daemon.delete("a"), 64);
    let reason = fs::read_to_string(&log).unwrap();
    assert!(
        reason.starts_with("invalid value 'lots' for WASI_HTTP_HOST_MAX_MEMORY (--max-memory): "),
        "{reason}"
    );
}

/// The host's log lines arrive at the destination that containerd names.
#[test]
fn logs() {
    let daemon = with_images();
    let (service, _) = serve(&daemon, "a", &[], &[]);
    service.wait_until_ok("/health");
    eventually("a line of the access log", || daemon.output("a").contains("/health").then_some(()));
}

#[test]
fn an_error_names_the_wrong_bound_of_the_cache() {
    let bundle = tempfile::tempdir().unwrap();
    fs::write(bundle.path().join("config.json"), "{}").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_containerd-shim-wasi-http-v1"))
        .args(["-namespace", "n", "-id", "a", "-address", "/nowhere", "start"])
        .env("WASI_HTTP_SHIM_CACHE_MAX_BYTES", "4Gi")
        .current_dir(bundle.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("WASI_HTTP_SHIM_CACHE_MAX_BYTES=4Gi"), "{error}");
}

/// The oldest code goes, whatever runs, and the component is compiled again when it is needed.
#[test]
fn the_cache_has_a_bound_in_bytes() {
    let daemon = Daemon::start_with(&[("WASI_HTTP_SHIM_CACHE_MAX_BYTES", "40000000")]);
    daemon.import(&crate::image::gists());
    // Two entries that together exceed the bound, older than what is compiled now.
    for (name, at) in [("old", 1), ("older", 0)] {
        let entry = daemon.cache().join(name);
        fs::create_dir_all(&entry).unwrap();
        fs::File::create(entry.join("code")).unwrap().set_len(20_000_000).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
        fs::File::open(&entry).unwrap().set_modified(at).unwrap();
    }
    let (service, _) = serve(&daemon, "a", &[], &[]);
    service.wait_until_ok("/health");
    assert!(!daemon.cache().join("older").exists());
    assert!(daemon.cache().join("old").exists());
    assert_eq!(daemon.compiled().len(), 2);
}
