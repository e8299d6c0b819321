//! The programs for arm64, under QEMU's user-mode emulation. `make test-arm64` builds them.
//!
//! QEMU runs an arm64 program on this machine's kernel, but does not let the program install a seccomp filter. So the shim's
//! sandbox cannot be tried; what it allows is compared with the calls that the compiler makes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Instant;

use testkit::{HostOptions, paths};

/// An emulator, and a processor that clouds have.
const EMULATOR: [&str; 3] = ["qemu-aarch64", "-cpu", "neoverse-n1"];
/// The smallest pool of instances: QEMU keeps a record of each reserved page.
const SMALL_POOL: [&str; 2] = ["--max-instances=1", "--threads=1"];
/// Calls that the host makes, and that the shim denies on all processors: names of threads and mappings, the kind of a
/// terminal, written pages. The host goes on without them.
const DISPENSABLE: [&str; 2] = ["ioctl", "prctl"];

fn program(name: &str) -> PathBuf {
    let path = paths::target().join("node/release/arm64").join(name);
    assert!(path.is_file(), "{} does not exist: run `make test-arm64`", path.display());
    path
}

/// A command under emulation, with further options of the emulator.
fn emulated(options: &[&str], name: &str) -> Command {
    let [emulator, processor @ ..] = EMULATOR;
    let mut command = Command::new(emulator);
    command.args(processor).args(options).arg(program(name));
    command
}

fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What the arm64 host left when it compiled the component, once for all tests.
struct Compiled {
    /// The directory with the code.
    cache: PathBuf,
    /// The system calls of the compilation.
    calls: BTreeSet<String>,
}

fn compiled() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let scratch = paths::scratch("arm64");
        let (cache, trace) = (scratch.join("code"), scratch.join("calls"));
        let mut compile = emulated(&["-strace", "-D", &trace.to_string_lossy()], "wasi-http-host");
        compile.arg("compile").args(SMALL_POOL).arg("--cache-dir").arg(&cache).arg(e2e::component());
        let begun = Instant::now();
        succeed(compile);
        println!("compiled under emulation in {:.1} s", begun.elapsed().as_secs_f64());
        let calls = calls(&fs::read_to_string(trace).unwrap());
        Compiled { cache, calls }
    })
}

/// The names of the calls in QEMU's trace (`PID NAME(ARGUMENTS) = RESULT`). Threads write into each other's lines.
fn calls(trace: &str) -> BTreeSet<String> {
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    trace
        .split('(')
        .filter_map(|text| text.rsplit_once(' '))
        .filter(|(before, name)| before.ends_with(|last: char| last.is_ascii_digit()) && is_name(name))
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// The calls that the shim allows a compiler on arm64, and `clone`, which it allows for threads. Read from the source, because
/// the numbers in a program for this machine are those of its own processor.
fn allowed() -> BTreeSet<String> {
    let source = paths::workspace().join("runtime-class/shim/src/wasm/syscalls.rs");
    let text = fs::read_to_string(source).unwrap();
    let mut names = BTreeSet::from(["clone".to_owned()]);
    for list in [
        "\nconst ALLOWED: &[c_long] = &[",
        "\n#[cfg(target_arch = \"aarch64\")]\nconst OF_THIS_PROCESSOR: &[c_long] = &[",
    ] {
        let (_, rest) = text.split_once(list).unwrap_or_else(|| panic!("no {list} in the shim's source"));
        let (list, _) = rest.split_once("];").unwrap();
        names.extend(
            list.split([',', '\n'])
                .filter_map(|name| name.trim().strip_prefix("libc::SYS_"))
                .map(str::to_owned),
        );
    }
    names
}

#[test]
#[ignore = "needs programs for arm64: make test-arm64"]
fn the_compiler_makes_no_call_that_the_shim_denies() {
    let (made, allowed) = (&compiled().calls, allowed());
    for call in ["openat", "mmap", "futex", "clone", "membarrier"] {
        assert!(made.contains(call), "the trace lacks {call}: {made:?}");
    }
    let denied: Vec<_> =
        made.difference(&allowed).filter(|call| !DISPENSABLE.contains(&call.as_str())).collect();
    assert!(denied.is_empty(), "runtime-class/shim/src/wasm/syscalls.rs does not allow {denied:?}");
}

#[tokio::test]
#[ignore = "needs programs for arm64: make test-arm64"]
async fn the_host_serves_a_page_from_the_code_that_it_compiled() {
    let github = e2e::fake().await;
    github.add_user("octocat", 23, 0);
    let host = HostOptions::serving(e2e::manifest())
        .program(program("wasi-http-host"))
        .under(EMULATOR)
        .flags(&SMALL_POOL)
        .flag("--cache-dir", &compiled().cache.to_string_lossy())
        .setting("github_api_url", &github.url())
        .start()
        .await;
    let page = host.get("/octocat?page=2&per_page=7").await;
    assert_eq!(page.status, 200, "{}", page.text());
    let pagination =
        serde_json::json!({"page": 2, "per_page": 7, "count": 7, "has_next": true, "has_prev": true});
    assert_eq!(page.json()["pagination"], pagination);
    let compiled_again = host.lines().iter().any(|line| line["message"] == "compiling");
    assert!(!compiled_again, "the host did not find the code that it compiled");
    println!("ready under emulation after {:.1} s", host.started_in().as_secs_f64());
}

#[test]
#[ignore = "needs programs for arm64: make test-arm64"]
fn the_shim_tells_its_version_and_the_runtimes_name() {
    let mut version = emulated(&[], "containerd-shim-wasi-http-v1");
    version.arg("-v");
    let text = String::from_utf8(succeed(version).stdout).unwrap();
    assert_eq!(text, concat!("containerd-shim-wasi-http-v1 ", env!("CARGO_PKG_VERSION"), "\n"));
    let mut info = emulated(&[], "containerd-shim-wasi-http-v1");
    info.arg("-info");
    let reply = succeed(info).stdout;
    assert!(String::from_utf8_lossy(&reply).contains("io.containerd.wasi-http.v1"), "{reply:?}");
}

#[test]
#[ignore = "needs programs for arm64: make test-arm64"]
fn the_installer_changes_a_node_and_restores_it() {
    let node = paths::scratch("arm64-node");
    let config = node.join("etc/containerd/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let fixture = "runtime-class/installer/tests/fixtures/containerd-1.7-kubeadm.toml";
    fs::copy(paths::workspace().join(fixture), &config).unwrap();
    let before = fs::read(&config).unwrap();
    let run = |subcommand| {
        let mut command = emulated(&[], "wasi-http-installer");
        command.arg(subcommand).arg("--root").arg(&node);
        command.arg("--programs").arg(program("wasi-http-host").parent().unwrap());
        command.args(["--config=/etc/containerd/config.toml", "--restart=never"]);
        succeed(command)
    };
    run("install");
    assert!(fs::read_to_string(&config).unwrap().contains("io.containerd.wasi-http.v1"));
    for name in ["wasi-http-host", "containerd-shim-wasi-http-v1"] {
        let installed = fs::read(node.join("usr/local/bin").join(name)).unwrap();
        assert!(installed == fs::read(program(name)).unwrap(), "{name} is another file");
    }
    run("remove");
    assert_eq!(fs::read(&config).unwrap(), before);
    assert!(!node.join("usr/local/bin/wasi-http-host").exists());
}
