//! One question to GitHub: with its redirects, its second try, its body, and the time that all of that may take.

use std::time::Duration;

use futures::future::{Either, select};

use crate::app::{App, Configured};
use crate::cache::entry::Content;
use crate::github::answer::{self, Answer, Failure};
use crate::github::gist;
use crate::github::redirect::{self, MAX_REDIRECTS};
use crate::metrics::{Counter, GitHubStatus};
use crate::ports::{Call, FetchError, Fetched, Level, Platform};
use crate::single_flight::fill::Errand;

/// What GitHub said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This page. When it was stored and until when it is fresh is for the cache to say.
    Page(Box<Content>),
    /// That the page of the validator still holds.
    NotModified,
    /// Something else.
    Failed(Failure),
}

/// Asks for the errand's page until `give_up` (monotonic). `validator` is that of the stored page, obtained with the
/// same credential.
pub async fn ask<P: Platform>(
    app: &App<P>,
    configured: &Configured,
    errand: &Errand,
    validator: Option<&str>,
    give_up: Duration,
) -> Reply {
    let time = app.platform.sleep(give_up.saturating_sub(app.platform.monotonic()));
    let question = Question { app, configured, errand };
    match select(std::pin::pin!(question.ask(validator)), std::pin::pin!(time)).await {
        Either::Left((reply, _)) => reply,
        Either::Right(_) => {
            app.stats.add(Counter::GitHub(GitHubStatus::Timeout), 1);
            Reply::Failed(Failure::Timeout)
        }
    }
}

struct Question<'a, P: Platform> {
    app: &'a App<P>,
    configured: &'a Configured,
    errand: &'a Errand,
}

impl<P: Platform> Question<'_, P> {
    async fn ask(&self, validator: Option<&str>) -> Reply {
        match self.send(validator).await {
            // Nobody asked for that: once more, without anything to compare with.
            Reply::NotModified if validator.is_none() => self.again().await,
            reply => reply,
        }
    }

    async fn again(&self) -> Reply {
        match self.send(None).await {
            Reply::NotModified => Reply::Failed(Failure::Invalid),
            reply => reply,
        }
    }

    /// Sends the question and follows its redirects.
    async fn send(&self, validator: Option<&str>) -> Reply {
        let settings = &self.configured.settings;
        let headers = self.headers(validator);
        let mut path = format!(
            "{}/users/{}/gists?page={}&per_page={}",
            settings.github_path,
            self.errand.username.encoded(),
            self.errand.query.page,
            self.errand.query.per_page,
        );
        for _ in 0..=MAX_REDIRECTS {
            let call = Call {
                https: settings.github.https,
                authority: &settings.github.authority,
                path: &path,
                headers: &headers,
            };
            let fetched = self.app.platform.fetch(&call, answer::MAX_BODY).await;
            self.count(&fetched);
            let fetched = match fetched {
                Ok(fetched) => fetched,
                Err(error) => {
                    self.note(&format!("{error:?}"));
                    return Reply::Failed(Failure::from(&error));
                }
            };
            match redirect::target(&settings.github, &path, &fetched) {
                Some(target) => path = target,
                None => return self.read(&fetched),
            }
        }
        self.note("too many redirects");
        Reply::Failed(Failure::Invalid)
    }

    fn headers(&self, validator: Option<&str>) -> Vec<(&'static str, String)> {
        let settings = &self.configured.settings;
        let mut headers = vec![
            ("accept", "application/vnd.github+json".to_owned()),
            ("x-github-api-version", settings.github_api_version.clone()),
            ("user-agent", format!("github-gists-api/{}", settings.app_version)),
        ];
        if let Some(token) = &settings.github_token {
            headers.push(("authorization", format!("Bearer {}", token.reveal())));
        }
        if let Some(validator) = validator {
            headers.push(("if-none-match", validator.to_owned()));
        }
        headers
    }

    fn read(&self, fetched: &Fetched) -> Reply {
        match answer::classify(fetched, self.app.platform.system()) {
            Answer::NotModified => Reply::NotModified,
            Answer::Failed(failure) => Reply::Failed(failure),
            Answer::Gists => self.page(fetched),
        }
    }

    fn page(&self, fetched: &Fetched) -> Reply {
        let relations = answer::relations(fetched);
        let query = self.errand.query;
        match gist::transform(&fetched.body, query.page, query.per_page, relations) {
            Ok(listing) => Reply::Page(Box::new(Content {
                body: listing.body,
                stored_at: Duration::ZERO,
                fresh_until: Duration::ZERO,
                validator: answer::validator(fetched).map(str::to_owned),
                credential: self.configured.credential,
                etag: listing.etag,
                count: listing.count,
                has_next: relations.next,
                has_prev: relations.prev,
            })),
            Err(_) => {
                // What is wrong with it may quote it, and it may hold a secret gist.
                self.note("the body is no list of gists");
                Reply::Failed(Failure::Invalid)
            }
        }
    }

    fn count(&self, fetched: &Result<Fetched, FetchError>) {
        let status = match fetched {
            Ok(fetched) if (100..600).contains(&fetched.status) => GitHubStatus::Code(fetched.status),
            Err(FetchError::Timeout) => GitHubStatus::Timeout,
            Ok(_) | Err(_) => GitHubStatus::Error,
        };
        self.app.stats.add(Counter::GitHub(status), 1);
        if let Some(remaining) = fetched.as_ref().ok().and_then(answer::remaining) {
            self.app.stats.set_rate_limit_remaining(remaining);
        }
    }

    fn note(&self, problem: &str) {
        let message = format!("GitHub, asked for {}: {problem}", self.errand.username);
        self.app.log_sparingly(Level::Warn, "github", &message);
    }
}
