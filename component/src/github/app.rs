//! How an app of GitHub obtains the token of its installation: it signs a JSON web token with its private key, and GitHub
//! answers with a token that lives an hour.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};

use crate::github::answer::{self, Answer, UpstreamFailure};
use crate::github::{client, http_date};
use crate::ports::{Fetch, FetchError, FetchMethod, FetchRequest, FetchResponse};
use crate::settings::{GitHubApp, Secret, Settings};

/// How long before the present a JSON web token says that it was issued, in seconds: GitHub's clock may be behind ours.
const ISSUED_BEFORE: u64 = 60;
/// How long a JSON web token is valid, in seconds. GitHub refuses more than 600.
const LIFE: u64 = 600;
/// A difference of the clocks for which the request is worth a second attempt, in seconds.
const CLOCK_DIFFERENCE: u64 = 30;
/// The longest answer with a token, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// The longest life of a token that is believed, in seconds: a day. GitHub's tokens live an hour.
const MAX_LIFE: u64 = 86_400;

/// The token of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationToken {
    /// The token.
    pub secret: Secret,
    /// When it was issued, by our clock, since the Unix epoch.
    pub issued_at: Duration,
    /// When it expires, by our clock, since the Unix epoch.
    pub expires_at: Duration,
}

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFailure {
    /// The numbers of the private key do not belong together, so it signs nothing.
    Key,
    /// GitHub gave no token.
    Refused(UpstreamFailure),
}

/// Asks GitHub for a token. `clock` is the time since the Unix epoch, and `observe` sees each exchange.
///
/// A JSON web token has the time of our clock. If GitHub refuses it and its clock is another one, the request is repeated
/// once with the time of GitHub's.
pub async fn request_token(
    fetch: &impl Fetch,
    settings: &Settings,
    app: &GitHubApp,
    clock: impl Fn() -> Duration,
    observe: impl Fn(Result<&FetchResponse, &FetchError>),
) -> Result<InstallationToken, TokenFailure> {
    let path = format!("{}/app/installations/{}/access_tokens", settings.github_path, app.installation);
    let mut time = clock().as_secs();
    let mut is_repeated = false;
    loop {
        let token = json_web_token(app, time).ok_or(TokenFailure::Key)?;
        let mut headers = client::headers(settings, Some(&token));
        // Without a length, the host would send an empty body in chunks.
        headers.push(("content-length", "0".to_owned()));
        let request = FetchRequest {
            method: FetchMethod::Post,
            https: settings.github.https,
            authority: &settings.github.authority,
            path: &path,
            headers: &headers,
        };
        let result = fetch.fetch(&request, MAX_BODY).await;
        observe(result.as_ref());
        let response = result.map_err(|error| TokenFailure::Refused(UpstreamFailure::from(&error)))?;
        let present = answer::present(&response, clock());
        if response.status == 401 && !is_repeated && present.abs_diff(time) > CLOCK_DIFFERENCE {
            (time, is_repeated) = (present, true);
            continue;
        }
        return read(&response, clock()).map_err(TokenFailure::Refused);
    }
}

/// The JSON web token (RFC 7519) with which the app asks at `time`, in seconds since the Unix epoch.
fn json_web_token(app: &GitHubApp, time: u64) -> Option<String> {
    let issued = time.saturating_sub(ISSUED_BEFORE);
    let claims = format!(r#"{{"iat":{issued},"exp":{},"iss":"{}"}}"#, issued + LIFE, app.id);
    let [header, claims] = [r#"{"alg":"RS256","typ":"JWT"}"#, &claims]
        .map(|part| Base64UrlUnpadded::encode_string(part.as_bytes()));
    let signed = format!("{header}.{claims}");
    let signature = Base64UrlUnpadded::encode_string(&app.key.sign(signed.as_bytes())?);
    Some(format!("{signed}.{signature}"))
}

/// The token in GitHub's answer, which arrived at `now`.
fn read(response: &FetchResponse, now: Duration) -> Result<InstallationToken, UpstreamFailure> {
    #[derive(serde::Deserialize)]
    struct Body {
        token: String,
        expires_at: String,
    }
    if !matches!(response.status, 200 | 201) {
        return Err(match answer::classify(response, now) {
            // GitHub does not know the installation, which says nothing about a user.
            Answer::Failed(UpstreamFailure::NoSuchUser) => UpstreamFailure::Status(404),
            Answer::Failed(failure) => failure,
            Answer::Gists | Answer::NotModified => UpstreamFailure::Invalid,
        });
    }
    let body: Body = serde_json::from_slice(&response.body).map_err(|_| UpstreamFailure::Invalid)?;
    let secret = Secret::new(&body.token).ok_or(UpstreamFailure::Invalid)?;
    let expires = http_date::parse_utc(&body.expires_at).ok_or(UpstreamFailure::Invalid)?;
    let life = expires.saturating_sub(answer::present(response, now)).min(MAX_LIFE);
    if life == 0 {
        return Err(UpstreamFailure::Invalid);
    }
    Ok(InstallationToken { secret, issued_at: now, expires_at: now + Duration::from_secs(life) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn read(status: u16, date: Option<&str>, body: &str) -> Result<(String, u64), UpstreamFailure> {
        let headers = date.map(|date| ("Date".to_owned(), date.as_bytes().to_vec())).into_iter().collect();
        let token = super::read(&FetchResponse { status, headers, body: body.as_bytes().to_vec() }, NOW)?;
        assert_eq!(token.issued_at, NOW);
        Ok((token.secret.reveal().to_owned(), (token.expires_at - NOW).as_secs()))
    }

    #[test]
    fn an_answer_with_a_token_says_how_long_it_lives() {
        // NOW is 2027-01-15T08:00:00Z.
        let body = r#"{"token":"ghs_x","expires_at":"2027-01-15T09:00:00Z","permissions":{}}"#;
        let token = |life| Ok(("ghs_x".to_owned(), life));
        assert_eq!(read(201, None, body), token(3600));
        assert_eq!(read(201, Some("Fri, 15 Jan 2027 08:05:00 GMT"), body), token(3300));
        assert_eq!(read(201, Some("Fri, 15 Jan 2027 09:00:00 GMT"), body), Err(UpstreamFailure::Invalid));
        assert_eq!(read(200, None, &body.replace("2027", "2099")), token(86_400));
        for other in
            ["", "{}", "[]", r#"{"token":"x"}"#, r#"{"token":1,"expires_at":"2027-01-15T09:00:00Z"}"#]
        {
            assert_eq!(read(201, None, other), Err(UpstreamFailure::Invalid), "{other}");
        }
        for (part, with) in [("ghs_x", "two words"), ("ghs_x", ""), ("ghs_x", "a\\r\\nb"), ("09:00:00Z", "9")]
        {
            assert_eq!(read(201, None, &body.replace(part, with)), Err(UpstreamFailure::Invalid), "{with}");
        }
    }

    #[test]
    fn a_refusal_says_nothing_about_a_user() {
        for (status, failure) in [
            (401, UpstreamFailure::Unauthorized),
            (403, UpstreamFailure::Status(403)),
            (404, UpstreamFailure::Status(404)),
            (429, UpstreamFailure::RateLimited { wait: None }),
            (304, UpstreamFailure::Invalid),
            (302, UpstreamFailure::Status(302)),
            (500, UpstreamFailure::Status(500)),
        ] {
            assert_eq!(read(status, None, r#"{"message":"no"}"#), Err(failure), "{status}");
        }
    }
}
