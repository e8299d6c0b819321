//! What a message says of a file that cannot be read.

use std::{io, path::Path};

/// Why the file at `path` cannot be read, what the file should be, and what may help. The text does not contain
/// `path`: the message that it becomes a part of begins with the path.
#[must_use]
pub fn unreadable(path: &Path, wanted: &str, error: &io::Error) -> String {
    format!("{error}: want {wanted}{}", help(path, error.kind()))
}

fn help(path: &Path, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            let missing = path.ancestors().skip(1).take_while(|above| !is_directory(above)).last();
            if let Some(missing) = missing {
                return format!("; there is no directory {}", missing.display());
            }
            match std::env::current_dir() {
                Ok(current) if path.is_relative() => {
                    format!("; a relative path starts at {}", current.display())
                }
                _ => String::new(),
            }
        }
        io::ErrorKind::PermissionDenied => {
            "; the user that the host runs as must be able to read it".to_owned()
        }
        _ => String::new(),
    }
}

/// The empty path is the directory above a relative file.
fn is_directory(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_what_was_wanted_and_what_helps() {
        let directory = tempfile::tempdir().unwrap();
        let said = |path: &Path| unreadable(path, "a certificate", &std::fs::read(path).unwrap_err());
        let reason = "No such file or directory (os error 2): want a certificate";
        assert_eq!(said(&directory.path().join("none")), reason);
        let above = directory.path().join("above");
        assert_eq!(
            said(&above.join("b/none")),
            format!("{reason}; there is no directory {}", above.display())
        );
        let current = std::env::current_dir().unwrap();
        assert_eq!(
            said(Path::new("none")),
            format!("{reason}; a relative path starts at {}", current.display())
        );
        let denied = unreadable(Path::new("/x"), "a key", &io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("want a key; the user that the host runs as"), "{denied}");
        assert!(said(directory.path()).ends_with("want a certificate"), "{}", said(directory.path()));
    }
}
