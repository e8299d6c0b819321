//! Tests of settings directories: links, trailing line breaks, duplicates and limits.

use super::*;
use std::os::unix::fs::symlink;

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn all(directory: &tempfile::TempDir) -> Result<BTreeMap<String, String>, FileError> {
    read(directory.path(), |_| true)
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn one_line_break_at_the_end_goes() {
    let files: &[(&str, &[u8])] =
        &[("GITHUB_TOKEN", b"a\n"), ("b", b"b\r\n"), ("c", b"c\n\n"), ("d", b" d "), ("e", b"")];
    let expected = pairs(&[("github_token", "a"), ("b", "b"), ("c", "c\n"), ("d", " d "), ("e", "")]);
    assert_eq!(all(&directory(files)).unwrap(), expected);
}

#[test]
fn only_what_is_wanted_is_read() {
    let directory = directory(&[("a", b"1"), ("other", b"\xff")]);
    assert_eq!(read(directory.path(), |name| name == "a").unwrap(), pairs(&[("a", "1")]));
}

#[test]
fn a_mounted_secret_is_read_as_kubernetes_lays_it_out() {
    let directory = directory(&[]);
    let version = directory.path().join("..2026_11_21_06_40_45.123");
    fs::create_dir(&version).unwrap();
    fs::write(version.join("github_token"), "s3cret").unwrap();
    symlink("..2026_11_21_06_40_45.123", directory.path().join("..data")).unwrap();
    symlink("..data/github_token", directory.path().join("github_token")).unwrap();
    fs::create_dir(directory.path().join("folder")).unwrap();
    assert_eq!(all(&directory).unwrap(), pairs(&[("github_token", "s3cret")]));
}

#[test]
fn what_cannot_be_used_is_named_without_its_content() {
    let large = vec![b'x'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1];
    for (files, name) in [
        (&[("large", large.as_slice())][..], "large"),
        (&[("binary", b"s3cret\xff".as_slice())][..], "binary"),
        (&[("key", b"s3cret".as_slice()), ("KEY", b"other".as_slice())][..], "KEY"),
    ] {
        let error = all(&directory(files)).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
    }
    let dangling = directory(&[]);
    symlink("nowhere", dangling.path().join("key")).unwrap();
    let file = all(&dangling).unwrap_err().to_string();
    let missing = "No such file or directory (os error 2)";
    assert_eq!(file, format!("{}: {missing}", dangling.path().join("key").display()));
    let directory = read(Path::new("/no/such/directory"), |_| true).unwrap_err().to_string();
    let wanted = format!("/no/such/directory: {missing}: want a directory with one file for each setting");
    assert!(directory.starts_with(&wanted), "{directory}");
}

#[test]
fn the_largest_file_is_read() {
    let content = vec![b'x'; usize::try_from(MAX_FILE_BYTES).unwrap()];
    let read = all(&directory(&[("k", &content)])).unwrap();
    assert_eq!(read.get("k").map(String::len), Some(content.len()));
}
