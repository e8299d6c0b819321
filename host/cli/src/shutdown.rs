//! When to stop: on a signal, or when an embedder asks.

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tokio::sync::watch;

use wasi_http_host_runtime::engine;

use crate::ExitStatus;

/// Asks a host to stop.
#[derive(Clone, Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Receives the request to stop.
#[derive(Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
    /// Whether a host waits for the request.
    has_host: Arc<AtomicBool>,
}

impl Trigger {
    /// Asks the host to stop. Further calls have no effect.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Stops on SIGTERM or SIGINT, from now on.
    ///
    /// - Before a host runs, there is nothing to drain. The process ends immediately with code 0.
    /// - While a host runs, the first signal starts the drain, and a second signal ends the process immediately.
    ///
    /// The signals have handlers and their own thread. Therefore they also work for process 1, for which the kernel
    /// has no default actions, and whatever the other threads do.
    ///
    /// # Errors
    /// The system refuses the handlers or the thread.
    pub fn on_signals() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (trigger, shutdown) = Self::on_trigger();
        let has_host = shutdown.has_host.clone();
        let listen = move || {
            let mut requested = false;
            for signal in signals.forever() {
                let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
                if !has_host.load(Ordering::Acquire) {
                    // Not through the log, whose thread would not write the line before the process ends.
                    let _ = writeln!(io::stderr(), "wasi-http-host: {name} during the start");
                    end(ExitStatus::Done);
                }
                if std::mem::replace(&mut requested, true) {
                    tracing::warn!(signal = name, "second signal: exiting without a drain");
                    end(ExitStatus::Interrupted);
                }
                tracing::info!(signal = name, "shutting down");
                trigger.stop();
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
        Ok(shutdown)
    }

    /// Stops when the trigger's owner asks.
    pub fn on_trigger() -> (Trigger, Self) {
        let (sender, requested) = watch::channel(false);
        (Trigger(sender), Self { requested, has_host: Arc::default() })
    }

    /// Waits until the host is asked to stop.
    pub(crate) fn requested(self) -> impl Future<Output = ()> + Send + 'static {
        let Self { mut requested, has_host } = self;
        has_host.store(true, Ordering::Release);
        async move {
            // If the trigger was dropped, nobody can ask, and the host continues to run.
            if requested.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Ends the process after removing unfinished temporary files.
fn end(status: ExitStatus) -> ! {
    let _abandoned = engine::abandon();
    std::process::exit(status.code().into());
}
