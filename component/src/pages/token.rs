//! The token of a GitHub App's installation, for the requests for pages.

use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::app::{App, Configured};
use crate::github::answer::UpstreamFailure;
use crate::github::app::{InstallationToken, TokenFailure, request_token};
use crate::metrics::{Counter, GitHubStatus};
use crate::ports::{FetchError, FetchResponse, Level, Platform, Store as _};
use crate::settings::{GitHubApp, Secret};
use crate::singleflight::lease::LeaseLimits;
use crate::upstream::failure::PageFailure;
use crate::upstream::installation::{Asking, StoredToken, TokenRecord, TokenState};

/// The first pause between two looks for a token. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two looks for a token.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Where the requests of an instance get the installation's token.
pub(super) struct TokenSource<'a, P: Platform> {
    app: &'a Rc<App<P>>,
    configured: &'a Rc<Configured>,
    stored: Rc<StoredToken>,
}

impl<'a, P: Platform> TokenSource<'a, P> {
    /// The source of the tokens of `github_app`, which is the app in the settings.
    pub(super) fn new(app: &'a Rc<App<P>>, configured: &'a Rc<Configured>, github_app: &GitHubApp) -> Self {
        let stored = Rc::new(StoredToken::new(github_app, configured.credential));
        Self { app, configured, stored }
    }

    /// The installation's token. If it is due, a task renews it, and this request goes on with the old one. Waits until
    /// `deadline` (monotonic) if there is none.
    pub(super) async fn token(
        &self,
        store: Option<&P::Store>,
        deadline: Duration,
    ) -> Result<Secret, PageFailure> {
        let platform = &self.app.platform;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.look(store).await.state(platform.system()) {
                TokenState::Current(token) => return Ok(token),
                TokenState::Due(token) => {
                    self.start_asking();
                    return Ok(token);
                }
                TokenState::Failed(failure) => return Err(failure),
                TokenState::Missing => self.start_asking(),
            }
            let left = deadline.saturating_sub(platform.monotonic());
            if left.is_zero() {
                return Err(UpstreamFailure::Timeout.into());
            }
            platform.sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes sure that nobody uses `token` again: GitHub has refused it.
    pub(super) async fn forget(&self, store: Option<&P::Store>, token: &Secret) {
        let known = self.look(store).await;
        if known.token.is_some_and(|known| known.secret == *token) {
            self.keep(store, TokenRecord { token: None, failure: known.failure }).await;
        }
    }

    /// What the store knows of the token, or this instance.
    async fn look(&self, store: Option<&P::Store>) -> TokenRecord {
        if let Some(store) = store {
            match self.stored.read(store).await {
                Ok(Some(record)) => self.app.installation.keep(record),
                Ok(None) => {}
                Err(error) => self.app.report_cache_error(&error),
            }
        }
        self.app.installation.known()
    }

    async fn keep(&self, store: Option<&P::Store>, record: TokenRecord) {
        if let Some(store) = store
            && let Err(error) = self.stored.write(&self.app.platform, store, &record).await
        {
            self.app.report_cache_error(&error);
        }
        self.app.installation.keep(record);
    }

    /// Starts a task that asks GitHub for a token, unless a task of this instance does. The task outlives the request.
    fn start_asking(&self) {
        let Some(asking) = self.app.installation.start_asking() else { return };
        let (app, configured) = (Rc::clone(self.app), Rc::clone(self.configured));
        let stored = Rc::clone(&self.stored);
        self.app.platform.spawn(async move {
            TokenSource { app: &app, configured: &configured, stored }.ask(asking).await;
        });
    }

    /// Asks GitHub, unless another process does or has done so.
    async fn ask(&self, _asking: Asking) {
        let cache = self.app.cache(&self.configured.settings);
        let store = cache.as_ref().ok().map(|cache| &**cache.store());
        let limits = LeaseLimits::for_timeout(self.configured.settings.upstream_timeout);
        let claimed = match store {
            Some(store) => self.stored.claim(&self.app.platform, store, limits.lease).await,
            None => Ok(None),
        };
        let (store, claim) = match claimed {
            Ok(None) if store.is_some() => return,
            Ok(claim) => (store, claim),
            Err(error) => {
                self.app.report_cache_error(&error);
                (None, None)
            }
        };
        // Another process may have asked between this one's look and its claim.
        let record = self.look(store).await;
        if matches!(record.state(self.app.platform.system()), TokenState::Due(_) | TokenState::Missing) {
            let result = self.request(limits.give_up).await;
            self.app.flush_soon();
            if let Err(failure) = result {
                self.report(failure);
            }
            self.keep(store, record.after(result, self.app.platform.system())).await;
        }
        if let (Some(store), Some(claim)) = (store, claim)
            && let Err(error) = store.delete(&claim).await
        {
            self.app.report_cache_error(&error);
        }
    }

    /// Requests a token, and gives up after `timeout`.
    async fn request(&self, timeout: Duration) -> Result<InstallationToken, TokenFailure> {
        let (platform, settings) = (&self.app.platform, &self.configured.settings);
        let Some(github_app) = &settings.github_app else { return Err(TokenFailure::Key) };
        let observe = |result: Result<&FetchResponse, &FetchError>| {
            self.app.stats.add(Counter::GitHub(GitHubStatus::of(result)), 1);
        };
        let request = request_token(platform, settings, github_app, || platform.system(), observe);
        match select(std::pin::pin!(request), std::pin::pin!(platform.sleep(timeout))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                self.app.stats.add(Counter::GitHub(GitHubStatus::Timeout), 1);
                Err(TokenFailure::Refused(UpstreamFailure::Timeout))
            }
        }
    }

    /// Logs why there is no token, and which setting to look at.
    fn report(&self, failure: TokenFailure) {
        let (setting, status, message) = match failure {
            TokenFailure::Key => (
                "github_app_private_key",
                "",
                "the numbers of the private key do not belong together; replace the key",
            ),
            TokenFailure::Refused(UpstreamFailure::Unauthorized) => (
                "github_app_private_key",
                "401",
                "GitHub refused the signature of the app; check the app's id, its private key, and the clock",
            ),
            TokenFailure::Refused(UpstreamFailure::Status(404)) => (
                "github_app_installation_id",
                "404",
                "GitHub knows no such installation of the app; check the ids of the installation and of the app",
            ),
            TokenFailure::Refused(UpstreamFailure::Status(403)) => (
                "github_app_installation_id",
                "403",
                "GitHub refused a token; the installation may be suspended",
            ),
            TokenFailure::Refused(UpstreamFailure::Invalid) => {
                ("github_api_url", "", "GitHub's answer to the request for a token holds none")
            }
            TokenFailure::Refused(UpstreamFailure::Timeout | UpstreamFailure::Unreachable) => {
                ("github_api_url", "", "GitHub was not reached for a token of the app")
            }
            TokenFailure::Refused(UpstreamFailure::RateLimited { .. }) => {
                ("github_app_id", "429", "GitHub's rate limit allows no further token of the app")
            }
            TokenFailure::Refused(_) => ("github_app_id", "", "GitHub gave no token for the app"),
        };
        self.app.log(Level::Error, message, &[("setting", setting), ("status", status)]);
    }
}
