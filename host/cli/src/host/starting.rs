//! The admin port during compilation: the process is live and not ready, and `/ready` gives the reason.

use std::{
    net::TcpListener,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{runtime::Builder, sync::oneshot};

use crate::admin::Admin;

/// Answers probes until it is dropped. Connections that arrive later belong to the host.
pub(super) struct Starting {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Starting {
    /// Starts a thread that answers probes. If the thread cannot start, probes wait until the host has started; the
    /// start continues.
    pub(super) fn answer(listener: TcpListener, admin: Arc<Admin>) -> Option<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    served = admin.serve(listener) => drop(served),
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("starting".to_owned()).spawn(serve).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread ends as soon as it receives this signal.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::HostMetrics;
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };
    use wasi_http_host_keyvalue::Stores;
    use wasi_http_host_telemetry::{Log, LogConfig};

    #[test]
    fn who_asks_meanwhile_is_told_that_it_lives_and_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::new(&LogConfig::default()).unwrap();
        let metrics = Arc::new(HostMetrics::default());
        let admin = Admin::starting(metrics.clone(), Stores::default(), log);
        let starting = Starting::answer(listener, Arc::new(admin)).unwrap();
        let ask = |path| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(ask("/live").starts_with("HTTP/1.1 200 "));
        let ready = ask("/ready");
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("is being compiled"), "{ready}");
        assert!(ask("/metrics").contains("wasi_http_host_build_info"));
        let held = Arc::downgrade(&metrics);
        drop((starting, metrics));
        assert_eq!(held.strong_count(), 0, "its thread is gone");
    }
}
