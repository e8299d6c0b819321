//! The fake as a server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::app::{App, AppKey};
use super::cases::Case;
use super::connection;
use super::journal::Journal;
use super::lock::lock;
use super::response::ScriptedResponse;
use super::state::State;
use super::users::{User, Users};

/// A running fake GitHub. Dropping it closes the listener and each connection.
pub struct FakeGitHub {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// Holds each request for one user until the hold is released or dropped.
pub struct Hold {
    release: watch::Sender<bool>,
}

impl Hold {
    /// Answers the held requests and all later ones.
    pub fn release(self) {
        // An error says that no request is held.
        let _ = self.release.send(true);
    }
}

impl FakeGitHub {
    /// Starts a fake on a free loopback port, with `octocat` (8 gists) and `quiet` (none) as its users.
    ///
    /// # Errors
    /// If no loopback port can be bound.
    pub async fn start() -> io::Result<Self> {
        let mut users = Users::default();
        users.add(User::generate("octocat", 8, 0));
        users.add(User::generate("quiet", 0, 0));
        Self::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), users).await
    }

    /// Starts a fake at `address` with `users` as its users.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr, users: Users) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let state = Arc::new(State::new(users));
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(connection::accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, for `GITHUB_API_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds, or replaces, a user with this number of public and secret gists.
    pub fn add_user(&self, login: &str, public: usize, secret: usize) {
        lock(&self.state.users).add(User::generate(login, public, secret));
    }

    /// Adds, or replaces, a user as given.
    pub fn add(&self, user: User) {
        lock(&self.state.users).add(user);
    }

    /// Answers the user's next requests with `responses`, one each, before anything else that is scripted.
    pub fn next(&self, login: &str, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.state.script(login, |script| script.next.extend(responses));
    }

    /// Answers all of the user's further requests with `response`, until [`FakeGitHub::restore`].
    pub fn always(&self, login: &str, response: ScriptedResponse) {
        self.state.script(login, |script| script.then = Some(response));
    }

    /// Answers the user's further requests as `case` says, until [`FakeGitHub::restore`].
    pub fn play(&self, case: &Case, login: &str) {
        self.state.script(login, |script| *script = case.script());
    }

    /// Forgets the user's script: the fake responds as GitHub does again.
    pub fn restore(&self, login: &str) {
        lock(&self.state.scripts).remove(&login.to_ascii_lowercase());
    }

    /// Holds each request for the user until the hold is released or dropped.
    #[must_use]
    pub fn hold(&self, login: &str) -> Hold {
        let (release, held) = watch::channel(false);
        lock(&self.state.holds).insert(login.to_ascii_lowercase(), held);
        Hold { release }
    }

    /// Makes the fake know an app with one installation, whose tokens live for `life`. Returns what the service has to be told:
    /// the names of its settings, and their values.
    pub fn install_app(&self, key: &AppKey, life: Duration) -> [(&'static str, String); 3] {
        *lock(&self.state.app) = Some(App::new(key.clone(), life));
        [
            ("github_app_id", App::ID.to_owned()),
            ("github_app_installation_id", App::INSTALLATION.to_owned()),
            ("github_app_private_key", key.pkcs1.clone()),
        ]
    }

    /// Makes the tokens that the app's installation has got so far invalid.
    pub fn revoke_tokens(&self) {
        if let Some(app) = lock(&self.state.app).as_mut() {
            app.revoke();
        }
    }

    /// Sets the number of requests that are allowed, and resets the count of used ones.
    pub fn set_rate_limit(&self, requests: u64) {
        self.state.rate_limit.store(requests, Ordering::Relaxed);
        self.state.used.store(0, Ordering::Relaxed);
    }

    /// The recorded requests.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.state.journal
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
