//! SIGHUP asks for a reload.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP asks for a reload, as in other servers. If stdin is a terminal, SIGHUP ends the process, because it means
/// that the terminal was closed.
pub(crate) struct Hangup {
    /// Whether SIGHUP has come. `None` if the host does not listen for SIGHUP.
    received: Option<Arc<AtomicBool>>,
}

/// The SIGHUP signals while the host runs, and one that came before.
pub(super) struct Hangups {
    before: bool,
    signal: Option<Signal>,
}

impl Hangup {
    /// Listens from now on. Without a handler, a SIGHUP during the start would end the process.
    pub(crate) fn listen() -> Self {
        if std::io::stdin().is_terminal() {
            return Self { received: None };
        }
        let received = Arc::<AtomicBool>::default();
        let registered = signal_hook::flag::register(signal_hook::consts::SIGHUP, received.clone());
        Self { received: registered.map(|_| received).inspect_err(not_received).ok() }
    }

    /// Must be called within a runtime.
    pub(super) fn signals(&self) -> Hangups {
        let Some(received) = &self.received else { return Hangups { before: false, signal: None } };
        let signal = signal(SignalKind::hangup()).inspect_err(not_received).ok();
        // Read the flag after the new handler is registered, so that no signal is lost between the two handlers.
        Hangups { before: received.load(Ordering::Acquire), signal }
    }
}

fn not_received(error: &std::io::Error) {
    tracing::warn!(%error, "cannot listen for SIGHUP: it will not reload the application");
}

impl Hangups {
    /// Waits for the next SIGHUP.
    pub(super) async fn next(&mut self) {
        if std::mem::take(&mut self.before) {
            return;
        }
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        // There is no handler, or no further signal can come.
        std::future::pending::<()>().await;
    }
}
