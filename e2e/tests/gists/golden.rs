//! Golden files in `e2e/golden`. `UPDATE_GOLDEN=1` rewrites those that hold the service's own responses.

use std::path::PathBuf;

/// Asserts that the body equals the golden file, byte for byte.
#[track_caller]
pub(crate) fn compare(name: &str, body: &str) {
    let path = path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, body).unwrap();
        return;
    }
    let golden = read(name);
    assert!(
        golden == body,
        "{name} differs; got:\n{body}\nif the change is intended, UPDATE_GOLDEN=1 rewrites the file"
    );
}

/// The content of a golden file.
#[track_caller]
pub(crate) fn read(name: &str) -> String {
    let path = path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn path(name: &str) -> PathBuf {
    testkit::paths::workspace().join("e2e/golden").join(name)
}

/// Expands repetitions: `<9*3>` is `999`.
pub(crate) fn expand(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        whole.push_str(before);
        let run = after.split_once('>').and_then(|(run, tail)| {
            let (piece, times) = run.split_once('*')?;
            Some((piece.repeat(times.parse().ok()?), tail))
        });
        match run {
            Some((run, tail)) => {
                whole.push_str(&run);
                rest = tail;
            }
            None => {
                whole.push('<');
                rest = after;
            }
        }
    }
    whole + rest
}

#[test]
fn runs_are_written_out_and_nothing_else() {
    assert_eq!(expand("a<9*3>b<%22*2>"), "a999b%22%22");
    assert_eq!(expand("<script>alert(1*2)</script> 1<2"), "<script>alert(1*2)</script> 1<2");
}
