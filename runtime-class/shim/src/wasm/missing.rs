//! The error for an ordinary container whose program is not in its image. A frequent cause is a WebAssembly image with
//! the wrong command.

use std::{fs, path::Path};

use super::app::is_app;
use crate::{error::Error, spec::Spec};

/// Entries of the image's root directory that are looked at, and names that the message lists.
const ENTRIES_MAX: usize = 1_000;
const LISTED_MAX: usize = 4;

/// Adds to `error`, which `runc create` returned, what the image is and what to do, if its program does not exist.
pub(crate) fn explain(error: Error, spec: &Spec, rootfs: &Path) -> Error {
    let text = error.to_string();
    let is_missing = text.contains("exec: \"")
        && (text.contains("no such file or directory") || text.contains("executable file not found"));
    if !is_missing {
        return error;
    }
    let program = spec.args().first().map(|program| program.escape_debug().to_string()).unwrap_or_default();
    let apps = apps(rootfs);
    let what = if apps.is_empty() {
        "it is a Linux image without a WebAssembly component in its root directory: correct the container's command, or \
         use an image with a .wasm or a spin.toml"
            .to_owned()
    } else {
        format!("it holds {}: set the container's command to a .wasm or a spin.toml", apps.join(", "))
    };
    Error::InvalidArgument(format!("image {}: it has no program {program}; {what}: {text}", spec.image()))
}

/// Paths of what the host could serve, in the image's root directory.
fn apps(rootfs: &Path) -> Vec<String> {
    let entries = fs::read_dir(rootfs).into_iter().flatten().take(ENTRIES_MAX).flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut apps: Vec<String> =
        names.filter(|name| is_app(name)).map(|name| format!("/{}", name.escape_debug())).collect();
    apps.sort();
    apps.truncate(LISTED_MAX);
    apps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MISSING: &str =
        "runc create: unable to start container process: exec: \"/x\": stat /x: no such file or directory";

    fn explained(text: &str, rootfs: &Path) -> String {
        let spec = Spec::from_value(json!({
            "annotations": {"io.kubernetes.cri.image-name": "example/app:1"},
            "process": {"args": ["/x"]},
        }));
        explain(Error::Other(text.to_owned()), &spec, rootfs).to_string()
    }

    #[test]
    fn a_missing_program_is_told_with_what_the_image_is() {
        let directory = tempfile::tempdir().unwrap();
        let linux = explained(MISSING, directory.path());
        let start =
            "image example/app:1: it has no program /x; it is a Linux image without a WebAssembly component";
        assert!(linux.starts_with(start) && linux.ends_with(MISSING), "{linux}");
        for name in ["spin.toml", "a.wasm", "readme"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let wasm = explained(MISSING, directory.path());
        assert!(wasm.contains("it has no program /x; it holds /a.wasm, /spin.toml: set the"), "{wasm}");
        let path = "exec: \"x\": executable file not found in $PATH";
        assert!(explained(path, directory.path()).contains("it holds"), "{path}");
    }

    #[test]
    fn another_error_stays_as_it_is() {
        for text in [
            "runc create: error mounting \"/a\": no such file or directory",
            "exec: \"/x\": permission denied",
        ] {
            assert_eq!(explained(text, Path::new("/nowhere")), text);
        }
    }
}
