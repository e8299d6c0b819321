//! Cases of GitHub's behaviour that can be played by name, so that an operator can see what the service does.

use std::time::Duration;

use super::common::{http_date, now};
use super::response::ScriptedResponse;
use super::state::Script;

/// A case of GitHub's behaviour towards the requests for one user.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The name in `PUT /_fake/cases/{name}/{login}`.
    pub name: &'static str,
    /// What GitHub does, and what the service is expected to do.
    pub text: &'static str,
    responses: fn(Duration) -> Vec<ScriptedResponse>,
}

impl Case {
    /// All cases, in the order of their list.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "secondary-limit",
            text: "403 with requests left and a reset in an hour: 429 for 60 s, doubling",
            responses: |now| vec![secondary(now)],
        },
        Self {
            name: "secondary-limit-retry-after",
            text: "the same with retry-after: 429 for 10 s",
            responses: |now| vec![secondary(now).header("retry-after", "10")],
        },
        Self {
            name: "primary-limit",
            text: "403 with no request left until a reset in 30 s: 429 until a second after it",
            responses: |now| vec![ScriptedResponse::rate_limited((now + SOON).as_secs())],
        },
        Self {
            name: "other-clock",
            text: "the same by a clock that is five minutes ahead: 429 for as long",
            responses: |now| {
                let ahead = now + Duration::from_secs(300);
                let response = ScriptedResponse::rate_limited((ahead + SOON).as_secs());
                vec![response.header("date", &http_date(ahead))]
            },
        },
        Self {
            name: "last-request",
            text: "a page, and no request left for 30 s: the page, then 429 for other users",
            responses: |now| vec![with_quota(0, now)],
        },
        Self {
            name: "low-quota",
            text: "a page, and 6 of 60 requests left for 30 s: stored pages are revalidated, other users get 429",
            responses: |now| vec![with_quota(6, now)],
        },
        Self {
            name: "next-page-behind-a-304",
            text: "a page without a next one, then a 304 that names one: has_next becomes true",
            responses: |_| {
                let link = "<https://api.github.com/user/1/gists?page=2>; rel=\"next\"";
                vec![
                    ScriptedResponse::genuine().header("link", ""),
                    ScriptedResponse::genuine().header("link", link),
                ]
            },
        },
        Self {
            name: "slow",
            text: "each page after two seconds: at most 20 requests of the service are open at once",
            responses: |_| vec![ScriptedResponse::genuine().after(Duration::from_secs(2))],
        },
        Self {
            name: "version-ends",
            text: "a page, and the end of the API version in 29 days: a warning once a day, and a metric",
            responses: |now| {
                let page = ScriptedResponse::genuine().header("deprecation", &http_date(now));
                vec![page.header("sunset", &http_date(now + Duration::from_secs(29 * 86_400)))]
            },
        },
        Self {
            name: "version-ended",
            text: "410: stored pages are served, all others are 502",
            responses: |now| vec![ScriptedResponse::status(410).header("sunset", &http_date(now))],
        },
        Self {
            name: "token-refused",
            text: "401: 502. With a token, nobody asks for 60 s; an app tries a new token first",
            responses: |_| vec![ScriptedResponse::status(401)],
        },
        Self {
            name: "app-key-refused",
            text: "to *app, 401: no token; 502, and the log names github_app_private_key",
            responses: |_| vec![ScriptedResponse::status(401)],
        },
        Self {
            name: "app-suspended",
            text: "to *app, 403: no token; 502, and the log names github_app_installation_id",
            responses: |_| vec![ScriptedResponse::status(403).header("x-ratelimit-remaining", "4999")],
        },
        Self {
            name: "app-uninstalled",
            text: "to *app, 404: the same",
            responses: |_| vec![ScriptedResponse::status(404)],
        },
        Self {
            name: "app-token-unreadable",
            text: "to *app, an answer without a token: 502, and nobody asks for 10 s",
            responses: |_| vec![ScriptedResponse::json("{}")],
        },
    ];

    /// The case called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|case| case.name == name)
    }

    /// Whether the case is one of the requests for a token, whose login is [`super::APP`].
    #[must_use]
    pub fn is_for_app(&self) -> bool {
        self.name.starts_with("app-")
    }

    /// The script of the case from now on: each response once, the last one for ever.
    pub(super) fn script(&self) -> Script {
        let mut responses = (self.responses)(now());
        let then = responses.pop();
        Script { next: responses.into(), then }
    }
}

const SOON: Duration = Duration::from_secs(30);

fn secondary(now: Duration) -> ScriptedResponse {
    let reset = now + Duration::from_secs(3_500);
    ScriptedResponse::secondary_limit().header("x-ratelimit-reset", &reset.as_secs().to_string())
}

fn with_quota(remaining: u64, now: Duration) -> ScriptedResponse {
    ScriptedResponse::genuine()
        .header("x-ratelimit-limit", "60")
        .header("x-ratelimit-remaining", &remaining.to_string())
        .header("x-ratelimit-reset", &(now + SOON).as_secs().to_string())
}
