//! Compiled code is kept, and trusted only when it is ours and whole.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use crate::harness::{Host, guest, run, scratch};

fn compile(cache: &Path) -> (String, String) {
    let guest = guest("proxy");
    let output = run(&[
        "compile",
        guest.to_str().unwrap(),
        "--log-format",
        "json",
        "--cache-dir",
        cache.to_str().unwrap(),
    ]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn only_file(cache: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn the_second_start_finds_what_the_first_compiled() {
    let cache = scratch("code-cache").join("made");
    assert!(compile(&cache).0.contains("compiled in"));
    let file = only_file(&cache);
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(compile(&cache).0.contains("found in"));
    assert_eq!(only_file(&cache), file);
}

#[test]
fn a_damaged_file_is_compiled_again() {
    let cache = scratch("code-damaged").join("made");
    compile(&cache);
    let file = only_file(&cache);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b"", b"nonsense"] {
        fs::write(&file, damaged).unwrap();
        assert!(compile(&cache).0.contains("compiled in"), "{} bytes", damaged.len());
        assert!(compile(&cache).0.contains("found in"), "and is whole again");
    }
}

/// As a node has it for its pods: filled before, and not theirs to write.
#[tokio::test]
async fn what_lies_in_a_directory_that_cannot_be_written_is_used() {
    let cache = scratch("code-read-only").join("made");
    compile(&cache);
    let file = only_file(&cache);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o555)).unwrap();
    let host = Host::serve(&guest("proxy"), &["--cache-dir", cache.to_str().unwrap()], &[]);
    assert_eq!(host.get("/hello").await.status, 200);
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.id())).unwrap();
    // As the kernel names it: the target directory may be a link.
    let file = file.canonicalize().unwrap();
    assert!(maps.contains(file.to_str().unwrap()), "the code is mapped, so that processes share it: {maps}");
    assert!(!host.lines().iter().any(|line| line["level"] == "WARN"), "{:?}", host.lines());
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
}

/// No home, and nobody said where to keep code, as in an image that holds nothing: one line says so.
#[test]
fn without_a_directory_the_component_is_compiled_all_the_same() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasi-http-host"));
    command.env_clear().arg("serve").arg(guest("proxy"));
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut host = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines().map_while(Result::ok);
    let until_ready: Vec<_> = lines.take_while(|line| !line.contains(r#""message":"ready""#)).collect();
    host.kill().unwrap();
    host.wait().unwrap();
    assert!(until_ready.iter().any(|line| line.contains("listening")), "{until_ready:?}");
    let warnings: Vec<_> = until_ready.iter().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("no home directory"), "{warnings:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_one_warning() {
    let file = scratch("code-nowhere").join("file");
    fs::write(&file, "no directory").unwrap();
    let host = Host::serve(&guest("proxy"), &["--cache-dir", file.to_str().unwrap()], &[]);
    assert_eq!(host.get("/hello").await.status, 200);
    let warnings = host.lines().into_iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(warnings, 1, "{:?}", host.lines());
}

#[test]
fn a_file_that_others_can_write_is_not_trusted() {
    let cache = scratch("code-foreign").join("made");
    compile(&cache);
    let file = only_file(&cache);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(compile(&cache).0.contains("compiled in"));
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(compile(&cache).0.contains("compiled in"));
}

#[test]
fn what_a_crash_left_half_written_goes_some_time_later() {
    let cache = scratch("code-left-over").join("made");
    compile(&cache);
    let file = only_file(&cache);
    let [old, young] = ["1.tmp", "2.tmp"].map(|extension| file.with_extension(extension));
    let foreign = cache.join("theirs.tmp");
    for path in [&old, &young, &foreign] {
        fs::write(path, "half").unwrap();
    }
    let days_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
    for path in [&old, &foreign] {
        fs::File::options().write(true).open(path).unwrap().set_modified(days_ago).unwrap();
    }
    // The next that is written.
    fs::remove_file(&file).unwrap();
    assert!(compile(&cache).0.contains("compiled in"));
    assert!(file.exists() && !old.exists());
    assert!(young.exists(), "somebody may be writing it");
    assert!(foreign.exists(), "it is none of ours");
}

/// Where files are writable by the group by default, what was written must be trusted all the same.
#[test]
fn the_umask_makes_no_file_that_is_not_trusted() {
    let cache = scratch("code-umask").join("made");
    let script = r#"umask 0 && exec "$0" compile "$1" --cache-dir "$2""#;
    for expected in ["compiled in", "found in"] {
        let program = env!("CARGO_BIN_EXE_wasi-http-host");
        let mut command = Command::new("/bin/sh");
        command.env_clear().args(["-c", script, program]).arg(guest("proxy")).arg(&cache);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(expected), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}
