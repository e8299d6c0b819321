//! The client for GitHub's lists of gists. One request includes its redirects, a second attempt, the body, and a
//! deadline for all of them together.

use std::time::Duration;

use futures::future::{Either, select};

use crate::github::answer::{self, Answer, UpstreamFailure};
use crate::github::gist::{self, Listing};
use crate::github::link::Relations;
use crate::github::redirect::{self, MAX_REDIRECTS};
use crate::ports::{Clock, Fetch, FetchError, FetchMethod, FetchRequest, FetchResponse};
use crate::request::query::GistQuery;
use crate::request::username::Username;
use crate::settings::{Secret, Settings};

/// GitHub's reply to a request for gists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A page of gists (200).
    Page(Box<FetchedPage>),
    /// The page of the validator is still current (304). The neighbours, if the answer names any, may have changed.
    NotModified(Option<Relations>),
    /// There is no page, and why.
    Failed(UpstreamFailure),
}

/// A page as GitHub sent it, in our form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPage {
    /// The gists, transformed into our body.
    pub listing: Listing,
    /// Which neighbours of the page GitHub's `Link` names.
    pub relations: Relations,
    /// GitHub's `ETag`, if it is valid.
    pub validator: Option<String>,
}

/// Receives what the client sees on the way, for metrics and the log.
pub trait Observer {
    /// Called after every HTTP exchange, redirects included, and once more if the deadline ends the request.
    fn exchanged(&self, result: Result<&FetchResponse, &FetchError>);
    /// Called if an exchange fails or its answer is unusable. `reason` holds nothing that GitHub sent.
    fn failed(&self, reason: &str);
}

/// A request for one page of a user's gists.
pub struct Client<'a, P, O> {
    /// Sends the requests and measures the deadline.
    pub platform: &'a P,
    /// Where GitHub is, and what to send.
    pub settings: &'a Settings,
    /// The token to send; `None` for a request without one.
    pub token: Option<&'a Secret>,
    /// Learns about every exchange.
    pub observer: &'a O,
    /// The user whose gists are requested.
    pub username: &'a Username,
    /// The page that is requested. `use_cache` has no effect here.
    pub query: GistQuery,
}

impl<P: Fetch + Clock, O: Observer> Client<'_, P, O> {
    /// Requests the page, and gives up at `deadline` (monotonic). `validator` is the `ETag` of the stored page; it must
    /// have been obtained with the credential in the settings, for an app perhaps with an earlier token.
    pub async fn list_gists(&self, validator: Option<&str>, deadline: Duration) -> Reply {
        let timeout = self.platform.sleep(deadline.saturating_sub(self.platform.monotonic()));
        match select(std::pin::pin!(self.attempt(validator)), std::pin::pin!(timeout)).await {
            Either::Left((reply, _)) => reply,
            Either::Right(_) => {
                self.observer.exchanged(Err(&FetchError::Timeout));
                Reply::Failed(UpstreamFailure::Timeout)
            }
        }
    }

    /// Sends the request, and repeats it once if GitHub answers 304 to a request without a validator.
    async fn attempt(&self, validator: Option<&str>) -> Reply {
        match self.send(validator).await {
            Reply::NotModified(_) if validator.is_none() => match self.send(None).await {
                Reply::NotModified(_) => Reply::Failed(UpstreamFailure::Invalid),
                reply => reply,
            },
            reply => reply,
        }
    }

    /// Sends the request and follows its redirects.
    async fn send(&self, validator: Option<&str>) -> Reply {
        let headers = self.headers(validator);
        let origin = &self.settings.github;
        let mut path = self.path();
        for _ in 0..=MAX_REDIRECTS {
            let request = FetchRequest {
                method: FetchMethod::Get,
                https: origin.https,
                authority: &origin.authority,
                path: &path,
                headers: &headers,
            };
            let result = self.platform.fetch(&request, answer::MAX_BODY).await;
            self.observer.exchanged(result.as_ref());
            let response = match result {
                Ok(response) => response,
                Err(error) => {
                    self.observer.failed(&error.to_string());
                    return Reply::Failed(UpstreamFailure::from(&error));
                }
            };
            match redirect::target(origin, &path, &response) {
                Some(target) => path = target,
                None => return self.read(&response),
            }
        }
        self.observer.failed("more than two redirects");
        Reply::Failed(UpstreamFailure::Invalid)
    }

    fn path(&self) -> String {
        format!(
            "{}/users/{}/gists?page={}&per_page={}",
            self.settings.github_path,
            self.username.encoded(),
            self.query.page,
            self.query.per_page,
        )
    }

    fn headers(&self, validator: Option<&str>) -> Vec<(&'static str, String)> {
        let mut headers = headers(self.settings, self.token.map(Secret::reveal));
        if let Some(validator) = validator {
            headers.push(("if-none-match", validator.to_owned()));
        }
        headers
    }

    fn read(&self, response: &FetchResponse) -> Reply {
        match answer::classify(response, self.platform.system()) {
            Answer::NotModified => Reply::NotModified(answer::stated_relations(response)),
            Answer::Failed(failure) => Reply::Failed(failure),
            Answer::Gists => self.page(response),
        }
    }

    fn page(&self, response: &FetchResponse) -> Reply {
        let relations = answer::relations(response);
        match gist::transform(&response.body, self.query.page, self.query.per_page, relations) {
            Ok(listing) => Reply::Page(Box::new(FetchedPage {
                listing,
                relations,
                validator: answer::validator(response).map(str::to_owned),
            })),
            Err(_) => {
                // The error may quote the body, and the body may hold a secret gist.
                self.observer.failed("the body is not a list of gists");
                Reply::Failed(UpstreamFailure::Invalid)
            }
        }
    }
}

/// The headers of each request to GitHub.
pub(super) fn headers(settings: &Settings, token: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("accept", "application/vnd.github+json".to_owned()),
        ("x-github-api-version", settings.github_api_version.clone()),
        ("user-agent", format!("github-gists-api/{}", settings.app_version)),
    ];
    if let Some(token) = token {
        headers.push(("authorization", format!("Bearer {token}")));
    }
    headers
}
