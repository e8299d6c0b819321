//! A fake GitHub: believable users and gists by default, any misbehaviour on demand, and a record of what it was asked.
//!
//! It speaks HTTP/1.1 by hand on purpose: a server library refuses to send what a broken server sends.

mod answer;
mod connection;
mod control;
mod deliver;
mod genuine;
mod journal;
mod people;
mod words;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use answer::{Answer, Delivery};
pub use journal::{Call, Journal};
pub use people::{File, Gist, People, User};

/// Requests allowed per credential before the fake answers as GitHub does when they are used up.
const RATE_LIMIT: u64 = 1_000_000;

/// Scripts for this login hold for all who have none of their own; nobody can be called so.
pub const EVERYONE: &str = "*";

/// A running fake; dropping it closes the listener and every connection.
pub struct FakeGitHub {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What every connection sees.
pub(crate) struct Shared {
    people: Mutex<People>,
    scripts: Mutex<HashMap<String, Script>>,
    holds: Mutex<HashMap<String, watch::Receiver<bool>>>,
    journal: Journal,
    rate_limit: AtomicU64,
    used: AtomicU64,
}

/// What one user's next requests are answered with: first `next` in order, then `then`, else the truth.
#[derive(Default)]
struct Script {
    next: VecDeque<Answer>,
    then: Option<Answer>,
}

/// Keeps every request for one user waiting, until it is released or dropped.
pub struct Hold {
    release: watch::Sender<bool>,
}

impl Hold {
    /// Lets the waiting requests, and all later ones, be answered.
    pub fn release(self) {
        // Nobody may be waiting; then there is nobody to tell.
        let _ = self.release.send(true);
    }
}

impl FakeGitHub {
    /// Starts one on a free loopback port, with `octocat` (8 gists) and `quiet` (none) as its users.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start() -> io::Result<Self> {
        let mut people = People::default();
        people.add(User::believable("octocat", 8, 0));
        people.add(User::believable("quiet", 0, 0));
        Self::bind(SocketAddr::from(([127, 0, 0, 1], 0)), people).await
    }

    /// Starts one at `address` with `people` as its users.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, people: People) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let shared = Arc::new(Shared {
            people: Mutex::new(people),
            scripts: Mutex::default(),
            holds: Mutex::default(),
            journal: Journal::default(),
            rate_limit: AtomicU64::new(RATE_LIMIT),
            used: AtomicU64::new(0),
        });
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(connection::accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, fit for `GITHUB_API_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds, or replaces, a user with so many public and secret gists.
    pub fn add_user(&self, login: &str, public: usize, secret: usize) {
        lock(&self.shared.people).add(User::believable(login, public, secret));
    }

    /// Adds, or replaces, a user as given.
    pub fn add(&self, user: User) {
        lock(&self.shared.people).add(user);
    }

    /// Answers the user's next requests with `answers`, one each, before anything else that is scripted.
    pub fn next(&self, login: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script(login, |script| script.next.extend(answers));
    }

    /// Answers all of the user's further requests with `answer`, until [`FakeGitHub::truth`].
    pub fn always(&self, login: &str, answer: Answer) {
        self.shared.script(login, |script| script.then = Some(answer));
    }

    /// Forgets what was scripted for the user: the truth again.
    pub fn truth(&self, login: &str) {
        lock(&self.shared.scripts).remove(&login.to_ascii_lowercase());
    }

    /// Keeps every request for the user waiting until the hold is released or dropped.
    #[must_use]
    pub fn hold(&self, login: &str) -> Hold {
        let (release, held) = watch::channel(false);
        lock(&self.shared.holds).insert(login.to_ascii_lowercase(), held);
        Hold { release }
    }

    /// Sets how many requests are allowed in all, and forgets how many were used.
    pub fn set_rate_limit(&self, requests: u64) {
        self.shared.rate_limit.store(requests, Ordering::Relaxed);
        self.shared.used.store(0, Ordering::Relaxed);
    }

    /// What it was asked, and how many requests were open at once.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn script(&self, login: &str, change: impl FnOnce(&mut Script)) {
        change(lock(&self.scripts).entry(login.to_ascii_lowercase()).or_default());
    }

    /// Takes what is scripted for the user's next request, if anything is.
    fn scripted(&self, login: &str) -> Option<Answer> {
        let mut scripts = lock(&self.scripts);
        let mut of = |login: &str| {
            let script = scripts.get_mut(login)?;
            script.next.pop_front().or_else(|| script.then.clone())
        };
        of(&login.to_ascii_lowercase()).or_else(|| of(EVERYONE))
    }

    /// Returns once nothing holds the user's requests.
    async fn unheld(&self, login: &str) {
        let hold = lock(&self.holds).get(&login.to_ascii_lowercase()).cloned();
        if let Some(mut hold) = hold {
            // An error says that the hold was dropped, which releases too.
            let _ = hold.wait_for(|released| *released).await;
        }
    }
}

/// A panic elsewhere in a test must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
