//! A component in a restricted pod: without root, without capabilities, with a read-only root file system.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use testkit::wait::eventually;

use crate::{
    daemon::{Daemon, RUNTIME},
    image::gists_wasm,
    observe::process_status,
    programs::required,
    serving::client,
};

/// The specification that containerd's CRI plugin generates for a restricted pod.
fn specification(rootfs: &str, env: &[String]) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 1000, "gid": 1000, "additionalGids": [2000]},
            "args": ["/gists.wasm"],
            "env": env,
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
            "oomScoreAdj": 900,
        },
        "root": {"path": rootfs, "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "linux": {
            "cgroupsPath": format!("/shim-test-{}/a", std::process::id()),
            "resources": {"memory": {"limit": 268_435_456}, "cpu": {"quota": 50_000, "period": 100_000}},
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mount", "unshare", "ptrace"], "action": "SCMP_ACT_ERRNO"}],
            },
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    })
}

#[test]
fn a_restricted_component() {
    let daemon = Daemon::start();
    let rootfs = daemon.path("image");
    fs::create_dir(&rootfs).unwrap();
    fs::write(rootfs.join("gists.wasm"), gists_wasm()).unwrap();
    let (service, admin) = (client(), client());
    let env = [
        format!("PORT={}", service.address().port()),
        format!("WASI_HTTP_HOST_ADMIN_LISTEN={}", admin.address()),
        "WASI_HTTP_HOST_THREADS=1".to_owned(),
    ];
    let file = daemon.path("spec.json");
    fs::write(&file, specification(rootfs.to_str().unwrap(), &env).to_string()).unwrap();
    daemon.remember("a");
    let log = format!("file://{}", daemon.path("a.out").display());
    daemon.ctr(&[
        "run",
        "--detach",
        "--runtime",
        RUNTIME,
        "--log-uri",
        &log,
        "--config",
        file.to_str().unwrap(),
        "a",
    ]);
    assert!(service.wait_until_ok("/health").text().contains("healthy"), "{}", daemon.output("a"));

    let pid = daemon.pid("a");
    assert_eq!(process_status(pid, "Uid:"), "1000\t1000\t1000\t1000");
    let groups = process_status(pid, "Groups:");
    assert!(
        groups.split_whitespace().any(|group| group == "2000")
            && !groups.split(' ').any(|group| group == "0")
    );
    assert_eq!(process_status(pid, "NoNewPrivs:"), "1");
    assert_eq!(process_status(pid, "Seccomp:"), "2");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(process_status(pid, set).trim_start_matches('0'), "", "{set}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    for point in ["/", "/.wasi-http/wasi-http-host", "/.wasi-http/cache"] {
        let mount = mounts.lines().find(|line| line.split(' ').nth(4) == Some(point)).expect(point);
        assert!(mount.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{mount}");
    }
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "900");
    eventually("the memory limit in the statistics", || {
        let metrics = daemon.ctr(&["task", "metrics", "a"]);
        metrics.contains("268435456").then_some(())
    });
    assert_eq!(daemon.end("a", "SIGTERM"), 0);
}

/// Starts the component in an image with more files and with more mounts, which must fail. Returns the error.
#[track_caller]
fn refused(daemon: &Daemon, rootfs: &Path, env: &[String], mounts: &[Value]) -> String {
    fs::write(rootfs.join("gists.wasm"), gists_wasm()).unwrap();
    let mut specification = specification(rootfs.to_str().unwrap(), env);
    specification["mounts"].as_array_mut().unwrap().extend_from_slice(mounts);
    let file = daemon.path("spec.json");
    fs::write(&file, specification.to_string()).unwrap();
    daemon.remember("a");
    daemon.refused(&[
        "run",
        "--detach",
        "--runtime",
        RUNTIME,
        "--null-io",
        "--config",
        file.to_str().unwrap(),
        "a",
    ])
}

/// A pod's variables and a symbolic link in its image do not redirect the compiler, which runs on the node.
#[test]
fn a_pod_cannot_redirect_the_compiler() {
    let daemon = Daemon::start();
    let rootfs = daemon.path("image");
    fs::create_dir(&rootfs).unwrap();
    // A link in place of the shim's directory in the image. The shim must not mount or create anything at its target.
    let target = daemon.path("target");
    fs::create_dir(&target).unwrap();
    symlink(&target, rootfs.join(".wasi-http")).unwrap();
    let env = [
        format!("PORT={}", client().address().port()),
        "WASI_HTTP_HOST_ADMIN_LISTEN=127.0.0.1:0".to_owned(),
        format!("WASI_HTTP_HOST_CACHE_DIR={}", target.display()),
        "LD_PRELOAD=/evil.so".to_owned(),
    ];
    let error = refused(&daemon, &rootfs, &env, &[]);
    assert!(error.contains("it has /.wasi-http, which is the runtime's own place"), "{error}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "the shim created files outside the image");
}

/// `runc` resolves `/proc/self/cwd` when it mounts the host, and the kernel resolves the path again in the container's working
/// directory when it executes it. The image has a program of its own there.
#[test]
fn a_program_of_the_image_does_not_take_the_host_s_place() {
    let daemon = Daemon::start();
    let rootfs = daemon.path("image");
    fs::create_dir_all(rootfs.join("w")).unwrap();
    fs::copy(required("BUSYBOX", "busybox"), rootfs.join("w/wasi-http-host")).unwrap();
    let env = [format!("PORT={}", client().address().port())];
    symlink("/proc/self/cwd/w", rootfs.join(".wasi-http")).unwrap();
    let error = refused(&daemon, &rootfs, &env, &[]);
    assert!(error.contains("it has /.wasi-http, which is the runtime's own place"), "{error}");
    fs::remove_file(rootfs.join(".wasi-http")).unwrap();
    // `ctr` may leave the container, whose task could not be created.
    let _ = daemon.try_ctr(&["container", "delete", "a"]);

    // In a volume, which the image does not show: containerd fills an image's volumes from the image.
    let volume = daemon.path("volume");
    fs::create_dir(&volume).unwrap();
    symlink("/proc/self/cwd/w/wasi-http-host", volume.join("wasi-http-host")).unwrap();
    let mount = json!({
        "destination": "/.wasi-http", "type": "bind", "source": volume, "options": ["rbind", "rw"],
    });
    let error = refused(&daemon, &rootfs, &env, &[mount]);
    // A newer `runc` may refuse by itself to mount through such a link.
    assert!(error.contains("which the runtime mounts there") || error.contains("runc create"), "{error}");
    assert!(daemon.task("a").is_none());
}
