//! When to stop: signals for a process, a handle for what embeds the host.

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

/// Tells a host when it is asked to stop.
#[derive(Debug)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
    /// Somebody listens.
    heard: Arc<AtomicBool>,
}

impl Trigger {
    /// Asks. More than once is the same as once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// On SIGTERM or SIGINT, from now on. Before a host runs there is nothing to finish: the process ends at once, with
    /// code 0. Then the first asks, and the second ends the process at once.
    ///
    /// The signals have handlers and a thread of their own, so that they work as process 1 too, where the kernel has no
    /// defaults, and whatever the other threads are at.
    ///
    /// # Errors
    /// When the system refuses handlers or a thread.
    pub fn on_signals() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (trigger, shutdown) = Self::on_trigger();
        let heard = shutdown.heard.clone();
        let listen = move || {
            let mut asked = false;
            for signal in signals.forever() {
                let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
                if !heard.load(Ordering::Acquire) {
                    // The log's thread would not get to it.
                    let _ = writeln!(io::stderr(), "wasi-http-host: {name} before the start was over");
                    end(ExitStatus::Done);
                }
                if std::mem::replace(&mut asked, true) {
                    tracing::warn!(signal = name, "ending at once");
                    end(ExitStatus::Interrupted);
                }
                tracing::info!(signal = name, "shutting down");
                trigger.stop();
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
        Ok(shutdown)
    }

    /// When the trigger says so.
    pub fn on_trigger() -> (Trigger, Self) {
        let (sender, asked) = watch::channel(false);
        (Trigger(sender), Self { asked, heard: Arc::default() })
    }

    /// Resolves when the host is to stop.
    pub(crate) fn requested(self) -> impl Future<Output = ()> + Send + 'static {
        let Self { mut asked, heard } = self;
        heard.store(true, Ordering::Release);
        async move {
            // A trigger that is gone can ask no more, and leaves the host running.
            if asked.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Ends the process, and leaves nothing half written.
fn end(status: ExitStatus) -> ! {
    let _abandoned = engine::abandon();
    std::process::exit(status.code().into());
}
