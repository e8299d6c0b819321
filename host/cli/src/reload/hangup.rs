//! SIGHUP, which asks for a reload.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP asks for a reload, as with other servers; where there is a terminal, it ends the process together with that.
pub(crate) struct Hangup {
    /// It has come, if anybody heard; none where nobody listens.
    heard: Option<Arc<AtomicBool>>,
}

/// Those that come while the host runs, and the one before.
pub(super) struct Hangups {
    before: bool,
    signal: Option<Signal>,
}

impl Hangup {
    /// Hears it from now on: before there is a host, it would be the process's end.
    pub(crate) fn listen() -> Self {
        if std::io::stdin().is_terminal() {
            return Self { heard: None };
        }
        let heard = Arc::<AtomicBool>::default();
        let registered = signal_hook::flag::register(signal_hook::consts::SIGHUP, heard.clone());
        Self { heard: registered.map(|_| heard).inspect_err(unheard).ok() }
    }

    /// To be called within a runtime.
    pub(super) fn signals(&self) -> Hangups {
        let Some(heard) = &self.heard else { return Hangups { before: false, signal: None } };
        let signal = signal(SignalKind::hangup()).inspect_err(unheard).ok();
        // After the other is in place, so that none falls between the two.
        Hangups { before: heard.load(Ordering::Acquire), signal }
    }
}

fn unheard(error: &std::io::Error) {
    tracing::warn!(%error, "SIGHUP is not heard");
}

impl Hangups {
    /// Resolves when the next has come.
    pub(super) async fn next(&mut self) {
        if std::mem::take(&mut self.before) {
            return;
        }
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        // Nothing is heard, or nothing more.
        std::future::pending::<()>().await;
    }
}
