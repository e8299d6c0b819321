//! Compiled code is kept, and trusted only when it is ours and whole.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::harness::{guest, run, scratch};

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
