//! A component in a restricted pod: without root, without capabilities, with a read-only root file system.

use std::fs;

use serde_json::{Value, json};
use testkit::wait::eventually;

use crate::{
    daemon::{Daemon, RUNTIME},
    image::gists_wasm,
    observe::process_status,
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

/// A pod's variables and a symbolic link in its image do not redirect the compiler, which runs on the node.
#[test]
fn a_pod_cannot_redirect_the_compiler() {
    let daemon = Daemon::start();
    let rootfs = daemon.path("image");
    fs::create_dir(&rootfs).unwrap();
    fs::write(rootfs.join("gists.wasm"), gists_wasm()).unwrap();
    // A link in place of the shim's directory in the image. The shim must not mount or create anything at its target.
    let target = daemon.path("target");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&target, rootfs.join(".wasi-http")).unwrap();
    let env = [
        format!("PORT={}", client().address().port()),
        "WASI_HTTP_HOST_ADMIN_LISTEN=127.0.0.1:0".to_owned(),
        format!("WASI_HTTP_HOST_CACHE_DIR={}", target.display()),
        "LD_PRELOAD=/evil.so".to_owned(),
    ];
    let file = daemon.path("spec.json");
    fs::write(&file, specification(rootfs.to_str().unwrap(), &env).to_string()).unwrap();
    daemon.remember("a");
    let output = daemon.try_ctr(&[
        "run",
        "--detach",
        "--runtime",
        RUNTIME,
        "--null-io",
        "--config",
        file.to_str().unwrap(),
        "a",
    ]);
    // `runc` may accept or refuse such an image.
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "the shim created files outside the image");
}
