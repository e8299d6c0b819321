//! What is to be served, as it lies on disk: a manifest, and the components that it names.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use wasi_http_host_manifest::{self as manifest, Manifest, ResolveError, settings::Sources};

use super::ApplicationConfig;

/// Largest component binary, in bytes.
pub const MAX_WASM_BYTES: u64 = 256 << 20;
/// Bytes of it that are read at once.
const PIECE: usize = 64 << 10;

/// The application cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// A component's file is missing or unreadable.
    #[error("{path}: {cause}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A component's file is over [`MAX_WASM_BYTES`].
    #[error("{path}: over the limit of {MAX_WASM_BYTES} bytes", path = .0.display())]
    TooLarge(PathBuf),
    /// A component's file is another than a moment ago.
    #[error("{path}: changed while it was read", path = .0.display())]
    Changed(PathBuf),
    /// A variable has no value, or not a fit one.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// Reads the manifest that `config` names, with what flags add to it. What of it has no effect is logged.
///
/// # Errors
/// Names the file, and line and key where there is one.
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

/// A component's file. Compiled code is found by its digest alone, so that a start reads it in pieces, and holds it only to
/// compile it.
pub struct Binary {
    path: PathBuf,
    /// SHA-256.
    pub digest: [u8; 32],
    /// What cannot be read twice, a pipe.
    held: Option<Vec<u8>>,
}

impl Binary {
    /// The file as it is now.
    ///
    /// # Errors
    /// Names the file.
    pub fn of(path: &Path) -> Result<Self, AppError> {
        let failed = |cause| AppError::Read { path: path.to_owned(), cause };
        let mut file = File::open(path).map_err(failed)?;
        let mut held = (!file.metadata().map_err(failed)?.is_file()).then(Vec::new);
        let (mut hasher, mut piece, mut read) = (Sha256::new(), vec![0; PIECE], 0);
        loop {
            let bytes = match file.read(&mut piece) {
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
            let piece = piece.get(..bytes).unwrap_or_default();
            hasher.update(piece);
            if let Some(held) = &mut held {
                held.extend_from_slice(piece);
            }
        }
    }

    /// The same bytes, whole.
    ///
    /// # Errors
    /// Names the file; also when it has changed.
    pub fn read(&self) -> Result<Cow<'_, [u8]>, AppError> {
        if let Some(held) = &self.held {
            return Ok(held.into());
        }
        let mut wasm = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(MAX_WASM_BYTES + 1).read_to_end(&mut wasm));
        read.map_err(|cause| AppError::Read { path: self.path.clone(), cause })?;
        match <[u8; 32]>::from(Sha256::digest(&wasm)) == self.digest {
            true => Ok(wasm.into()),
            false => Err(AppError::Changed(self.path.clone())),
        }
    }
}

/// The files of a manifest's components, in their order.
///
/// # Errors
/// Names the file.
pub fn binaries(manifest: &Manifest) -> Result<Vec<Binary>, AppError> {
    manifest.components.iter().map(|component| Binary::of(&component.source)).collect()
}

/// Where the values of the manifest's variables come from.
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
        fs::write(&path, vec![7; PIECE * 2 + 1]).unwrap();
        let binary = Binary::of(&path).unwrap();
        assert_eq!(binary.read().unwrap().len(), PIECE * 2 + 1);
        assert_eq!(binary.digest, <[u8; 32]>::from(Sha256::digest(vec![7; PIECE * 2 + 1])));
        fs::write(&path, vec![8; PIECE * 2 + 1]).unwrap();
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
