//! What all connections to the fake share.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;

use super::app::App;
use super::journal::Journal;
use super::lock::lock;
use super::response::ScriptedResponse;
use super::users::Users;

/// Requests allowed per credential before the fake responds as GitHub does at its rate limit.
const RATE_LIMIT: u64 = 1_000_000;

/// A script for this login applies to all users without a script of their own. No user can have this login.
pub const EVERYONE: &str = "*";

/// A script for this login applies to requests for the token of an app's installation. No user can have it.
pub const APP: &str = "*app";

/// The state.
pub(super) struct State {
    pub(super) users: Mutex<Users>,
    pub(super) app: Mutex<Option<App>>,
    pub(super) scripts: Mutex<HashMap<String, Script>>,
    pub(super) holds: Mutex<HashMap<String, watch::Receiver<bool>>>,
    pub(super) journal: Journal,
    pub(super) rate_limit: AtomicU64,
    pub(super) used: AtomicU64,
}

/// The scripted responses to one user's requests: first `next` in order, then `then`, then GitHub's own.
#[derive(Default)]
pub(super) struct Script {
    pub(super) next: VecDeque<ScriptedResponse>,
    pub(super) then: Option<ScriptedResponse>,
}

impl State {
    pub(super) fn new(users: Users) -> Self {
        Self {
            users: Mutex::new(users),
            app: Mutex::default(),
            scripts: Mutex::default(),
            holds: Mutex::default(),
            journal: Journal::default(),
            rate_limit: AtomicU64::new(RATE_LIMIT),
            used: AtomicU64::new(0),
        }
    }

    /// Changes the user's script.
    pub(super) fn script(&self, login: &str, change: impl FnOnce(&mut Script)) {
        change(lock(&self.scripts).entry(login.to_ascii_lowercase()).or_default());
    }

    /// Takes the scripted response to the user's next request, if there is one.
    pub(super) fn scripted(&self, login: &str) -> Option<ScriptedResponse> {
        let mut scripts = lock(&self.scripts);
        let mut of = |login: &str| {
            let script = scripts.get_mut(login)?;
            script.next.pop_front().or_else(|| script.then.clone())
        };
        of(&login.to_ascii_lowercase()).or_else(|| of(EVERYONE).filter(|_| login != APP))
    }

    /// Returns once nothing holds the user's requests.
    pub(super) async fn unheld(&self, login: &str) {
        let hold = lock(&self.holds).get(&login.to_ascii_lowercase()).cloned();
        if let Some(mut hold) = hold {
            // An error says that the hold was dropped, which releases the requests, too.
            let _ = hold.wait_for(|released| *released).await;
        }
    }
}
