//! The cache of compiled code: a file is used only if it is complete and only its owner can write it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use testkit::{
    host,
    paths::{guest, scratch},
};

use crate::harness::{run, serving, start_app};

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
        assert!(compile(&cache).0.contains("found in"), "the file is complete again");
    }
}

/// As on a node: the node fills the cache, and its pods cannot write it.
#[tokio::test]
async fn what_lies_in_a_directory_that_cannot_be_written_is_used() {
    let cache = scratch("code-read-only").join("made");
    compile(&cache);
    let file = only_file(&cache);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o555)).unwrap();
    let host = start_app(&guest("proxy"), &["--cache-dir", cache.to_str().unwrap()], &[]).await;
    assert_eq!(host.get("/hello").await.status, 200);
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    // As the kernel names the file: the target directory may be a link.
    let file = file.canonicalize().unwrap();
    assert!(
        maps.contains(file.to_str().unwrap()),
        "the code is not mapped, so that processes do not share it: {maps}"
    );
    assert!(!host.lines().iter().any(|line| line["level"] == "WARN"), "{:?}", host.lines());
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
}

/// As in an empty image: there is no home directory, and no setting names a cache directory. The host warns once.
#[tokio::test]
async fn without_a_directory_the_component_is_compiled_all_the_same() {
    let host = serving(&guest("proxy")).without("--cache-dir").start().await;
    let lines = host.lines();
    let warnings: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    assert!(warnings.len() == 1 && warnings[0].text.contains("no home directory"), "{warnings:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_one_warning() {
    let file = scratch("code-nowhere").join("file");
    fs::write(&file, "no directory").unwrap();
    let host = start_app(&guest("proxy"), &["--cache-dir", file.to_str().unwrap()], &[]).await;
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
    // Files that are left over are removed when the next file is written.
    fs::remove_file(&file).unwrap();
    assert!(compile(&cache).0.contains("compiled in"));
    assert!(file.exists() && !old.exists());
    assert!(young.exists(), "another process may be writing the file");
    assert!(foreign.exists(), "the file is not the host's");
}

/// Where new files are writable by their group by default, the host must still trust the files that it writes.
#[test]
fn the_umask_makes_no_file_that_is_not_trusted() {
    let cache = scratch("code-umask").join("made");
    let script = r#"umask 0 && exec "$0" compile "$1" --cache-dir "$2""#;
    for expected in ["compiled in", "found in"] {
        let program = env!("CARGO_BIN_EXE_wasi-http-host");
        let mut command = host::command(Path::new("/bin/sh"));
        command.args(["-c", script, program]).arg(guest("proxy")).arg(&cache);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(expected), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}
