//! The shim's own log: lines on the fifo `log` in the bundle, which containerd copies into its log.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Fifo {
    file: File,
    id: String,
}

/// Logs to `fifo`, if it is there.
pub(crate) fn init(fifo: &Path, id: &str, debug: bool) {
    let Ok(file) = open(fifo) else { return };
    let level = if debug { LevelFilter::Debug } else { LevelFilter::Info };
    if log::set_boxed_logger(Box::new(Fifo { file, id: id.to_owned() })).is_ok() {
        log::set_max_level(level);
    }
}

/// For reading too, so that a restart of containerd breaks nothing, and without blocking: a log that nobody reads
/// must not stop the shim.
fn open(fifo: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo)
}

impl Log for Fifo {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The protocol's library tells every connection that ends.
        metadata.level() <= if metadata.target().starts_with("ttrpc") { Level::Warn } else { Level::Debug }
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let line =
                format!("level={level} shim=wasi-http id={} msg={:?}\n", self.id, record.args().to_string());
            // Nobody reads: nothing to be done.
            let _ = (&self.file).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}
