//! The shim's own log. The shim writes lines to the fifo `log` in the bundle; containerd copies them into its log.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct FifoLogger {
    file: File,
    id: String,
}

/// Installs the logger. Does nothing if `fifo` does not exist. `id` is the container whose start started the shim.
pub(crate) fn init(fifo: &Path, id: &str, debug: bool) {
    let Ok(file) = open(fifo) else { return };
    let level = if debug { LevelFilter::Debug } else { LevelFilter::Info };
    if log::set_boxed_logger(Box::new(FifoLogger { file, id: id.to_owned() })).is_ok() {
        log::set_max_level(level);
    }
}

/// Opens the fifo for reading too, so that writing does not fail while containerd restarts. Opens it with `O_NONBLOCK`,
/// so that a full fifo does not block the shim.
fn open(fifo: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(fifo)
}

impl Log for FifoLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The crate `ttrpc` logs the end of every connection at level info.
        metadata.level() <= if metadata.target().starts_with("ttrpc") { Level::Warn } else { Level::Debug }
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let line =
                format!("level={level} shim=wasi-http id={} msg={:?}\n", self.id, record.args().to_string());
            // The line is lost if the fifo is full.
            let _ = (&self.file).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}
