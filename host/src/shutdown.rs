//! When to stop: signals for a process, a handle for what embeds the host.

use std::io;

use tokio::sync::watch;

/// Asks a host to stop.
#[derive(Clone, Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Tells a host when it is asked to stop.
#[derive(Debug)]
pub struct Shutdown {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Signals,
    Handle(watch::Receiver<bool>),
}

impl Trigger {
    /// Asks. More than once is the same as once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// On SIGTERM or SIGINT; a second one ends the process at once.
    pub fn on_signals() -> Self {
        Self { source: Source::Signals }
    }

    /// When the trigger says so.
    pub fn on_trigger() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self { source: Source::Handle(receiver) })
    }

    /// Resolves when the host is to stop. To be called within a runtime, early: signals that come before are lost.
    pub(crate) fn requested(self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let (signals, handle) = match self.source {
            Source::Signals => (Some(Signals::new()?), None),
            Source::Handle(receiver) => (None, Some(receiver)),
        };
        Ok(async move {
            if let Some(mut signals) = signals {
                let name = signals.next().await;
                tracing::info!(signal = name, "shutting down");
                tokio::spawn(async move {
                    let name = signals.next().await;
                    tracing::warn!(signal = name, "ending at once");
                    // What SIGINT alone would have ended with.
                    std::process::exit(130);
                });
            }
            if let Some(mut handle) = handle {
                // A trigger that is gone can ask no more, and leaves the host running.
                if handle.wait_for(|stop| *stop).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Handlers of our own, so that signals work as process 1 too, where the kernel has no defaults.
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
