//! The application's files: a manifest, and the components that the manifest names.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use wasi_http_host_core::unreadable;
use wasi_http_host_manifest::{self as manifest, MAX_WASM_BYTES, Manifest, ResolveError, settings::Sources};

use super::ApplicationConfig;

/// What a component's file should be, for a message.
const COMPONENT: &str = "the component that `source` in the manifest names: build it first";
/// Bytes of a binary that one read asks for.
const READ_BYTES: usize = 64 << 10;

/// The application's files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The manifest cannot be read or served.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// A file or directory that the manifest names is missing or unreadable.
    #[error("{}: {}", path.display(), unreadable(path, wanted, cause))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the path should name.
        wanted: &'static str,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A component must not see a directory that `files` in the manifest names.
    #[error("{}: {reason} (`files` in the manifest)", path.display())]
    Mount {
        /// The directory, or the entry of it that cannot be mounted.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A component's file is larger than [`MAX_WASM_BYTES`].
    #[error("{path}: over the limit of {MAX_WASM_BYTES} bytes", path = .0.display())]
    TooLarge(PathBuf),
    /// A component's file changed between two reads.
    #[error("{path}: changed while it was read", path = .0.display())]
    Changed(PathBuf),
    /// A variable has no value, or a value that does not fit.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// Reads the manifest that `config` names, and adds the hosts that flags allow. Logs a warning for each part that has
/// no effect.
///
/// # Errors
/// Names the file, and the line and key if the error is about one.
pub fn manifest(config: &ApplicationConfig) -> Result<Manifest, AppError> {
    let mut manifest = Manifest::load(&config.app)?;
    for component in &mut manifest.components {
        component.allowed_outbound_hosts.extend(config.outbound.allowed_outbound_hosts.iter().cloned());
    }
    for warning in &manifest.warnings {
        tracing::warn!("{warning}");
    }
    Ok(manifest)
}

/// A component's file. The cache finds compiled code by the digest alone. Therefore a start reads the file in pieces,
/// and keeps the whole file in memory only while compiling.
pub struct Binary {
    path: PathBuf,
    /// The SHA-256 of the file.
    pub digest: [u8; 32],
    /// The content of a file that cannot be read twice, such as a pipe.
    held: Option<Vec<u8>>,
}

impl Binary {
    /// Reads the file and computes its digest.
    ///
    /// # Errors
    /// The file is unreadable or too large. The error names the file.
    pub fn of(path: &Path) -> Result<Self, AppError> {
        let failed = |cause| AppError::Read { path: path.to_owned(), wanted: COMPONENT, cause };
        let mut file = File::open(path).map_err(failed)?;
        let mut held = (!file.metadata().map_err(failed)?.is_file()).then(Vec::new);
        let (mut hasher, mut chunk, mut read) = (Sha256::new(), vec![0; READ_BYTES], 0);
        loop {
            let bytes = match file.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes.map_err(failed)?,
            };
            if bytes == 0 {
                return Ok(Self { path: path.to_owned(), digest: hasher.finalize().into(), held });
            }
            read += bytes as u64;
            if read > MAX_WASM_BYTES {
                return Err(AppError::TooLarge(path.to_owned()));
            }
            let chunk = chunk.get(..bytes).unwrap_or_default();
            hasher.update(chunk);
            if let Some(held) = &mut held {
                held.extend_from_slice(chunk);
            }
        }
    }

    /// The complete file, with the same content as in [`Self::of`].
    ///
    /// # Errors
    /// The file is unreadable or has changed. The error names the file.
    pub fn read(&self) -> Result<Cow<'_, [u8]>, AppError> {
        if let Some(held) = &self.held {
            return Ok(held.into());
        }
        let mut wasm = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(MAX_WASM_BYTES + 1).read_to_end(&mut wasm));
        read.map_err(|cause| AppError::Read { path: self.path.clone(), wanted: COMPONENT, cause })?;
        match <[u8; 32]>::from(Sha256::digest(&wasm)) == self.digest {
            true => Ok(wasm.into()),
            false => Err(AppError::Changed(self.path.clone())),
        }
    }
}

/// The files of a manifest's components, in the manifest's order.
///
/// # Errors
/// A file is unreadable or too large. The error names the file.
pub fn binaries(manifest: &Manifest) -> Result<Vec<Binary>, AppError> {
    manifest.components.iter().map(|component| Binary::of(&component.source)).collect()
}

/// The sources of the variables' values.
pub(crate) fn sources(config: &ApplicationConfig) -> Sources {
    let assignments = config.vars.iter().flat_map(|vars| vars.0.iter().cloned()).collect();
    Sources::new(config.settings_dir.clone(), assignments)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, thread};

    use super::*;

    #[test]
    fn a_file_that_changes_between_digest_and_compilation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.wasm");
        fs::write(&path, vec![7; READ_BYTES * 2 + 1]).unwrap();
        let binary = Binary::of(&path).unwrap();
        assert_eq!(binary.read().unwrap().len(), READ_BYTES * 2 + 1);
        assert_eq!(binary.digest, <[u8; 32]>::from(Sha256::digest(vec![7; READ_BYTES * 2 + 1])));
        fs::write(&path, vec![8; READ_BYTES * 2 + 1]).unwrap();
        let error = binary.read().unwrap_err().to_string();
        assert!(error.ends_with("app.wasm: changed while it was read"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_read_once() {
        let (reader, mut writer) = io::pipe().unwrap();
        let written = thread::spawn(move || writer.write_all(&[9; 1000]).unwrap());
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
        let binary = Binary::of(&path).unwrap();
        written.join().unwrap();
        assert_eq!(*binary.read().unwrap(), [9; 1000]);
    }
}
