//! The platform's backend.
//!
//! - `GET /api/data`: a message, the time, and the version and the cluster that answer.
//! - `GET /api/public/*`: open.
//! - `GET /api/protected/*`: for clients with a JSON Web Token. A service mesh may verify the token, too: the setting
//!   `jwt_jwks` is the `jwks` of Istio's `RequestAuthentication`. Without keys in the settings, the routes are closed.
//!
//! | setting | | |
//! | --- | --- | --- |
//! | `message` | `Hello from the backend` | the message |
//! | `app_version` | the release | the version that answers, for canaries |
//! | `cluster_name` | `local` | the cluster that answers |
//! | `jwt_jwks` | | the keys that sign tokens: a JSON Web Key Set (RFC 7517) with RSA keys |
//! | `jwt_issuer` | | the issuer of tokens (`iss`) |
//! | `jwt_audience` | | the audience that tokens must name (`aud`); not set: any |

mod jwt;
mod rsa;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::routing::get;
use jiff::Timestamp;
use serde::Serialize;
use web::{Json, Platform, Problem, Service};

use crate::jwt::{Claims, Verifier};

#[cfg(target_family = "wasm")]
web::export!(router);

/// The message when the setting `message` is not set.
const MESSAGE: &str = "Hello from the backend";
/// The cluster when the setting `cluster_name` is not set.
const CLUSTER: &str = "local";

/// What `GET /api/data` answers.
#[derive(Debug, Serialize)]
struct Data {
    message: String,
    /// In UTC (RFC 3339).
    timestamp: String,
    version: String,
    cluster: String,
}

/// What `GET /api/public/*` answers.
#[derive(Debug, Serialize)]
struct Public {
    access: &'static str,
    /// The path behind `/api/public/`.
    path: String,
}

/// What `GET /api/protected/*` answers.
#[derive(Debug, Serialize)]
struct Protected {
    access: &'static str,
    /// The path behind `/api/protected/`.
    path: String,
    #[serde(flatten)]
    claims: Claims,
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/api/data", get(data))
        .route("/api/public/{*path}", get(public))
        .route("/api/protected/{*path}", get(protected))
        .with_state(platform.clone());
    Service::new("backend", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| Verifier::read(platform).map(|_| ()))
        .routes(routes)
}

async fn data(State(platform): State<Platform>) -> Result<Json<Data>, Problem> {
    let text = |name, default: &str| platform.setting_or(name, default.to_owned());
    let (message, version) = (text("message", MESSAGE)?, text("app_version", env!("CARGO_PKG_VERSION"))?);
    let cluster = text("cluster_name", CLUSTER)?;
    let seconds = i64::try_from(platform.unix_time().as_secs()).unwrap_or(i64::MAX);
    let timestamp = Timestamp::from_second(seconds)
        .map_err(|_| Problem::unavailable("the system's clock is beyond the year 9999"))?;
    Ok(Json(Data { message, timestamp: timestamp.to_string(), version, cluster }))
}

async fn public(Path(path): Path<String>) -> Json<Public> {
    Json(Public { access: "public", path })
}

async fn protected(
    State(platform): State<Platform>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Protected>, Problem> {
    let verifier = Verifier::read(&platform)?.ok_or_else(|| {
        Problem::unavailable("no token can be verified: settings jwt_jwks and jwt_issuer: not set")
    })?;
    let token = bearer(&headers).ok_or_else(|| {
        Problem::unauthorized("Bearer realm=\"platform\"", "the header authorization has no bearer token")
    })?;
    let claims = verifier.verify(token, platform.unix_time()).map_err(|reason| {
        let challenge = "Bearer realm=\"platform\", error=\"invalid_token\"";
        Problem::unauthorized(challenge, format!("the token is not valid: {reason}"))
    })?;
    Ok(Json(Protected { access: "protected", path, claims }))
}

/// The token of the one header `Authorization` (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use web::fake::{Fake, get, send};

    use super::*;
    use crate::jwt::test_tokens::{AUDIENCE, ISSUER, NOW, Signer};

    fn backend() -> (Fake, Router) {
        let fake = Fake::new();
        fake.set_time(NOW);
        let router = router(&fake.platform());
        (fake, router)
    }

    #[test]
    fn data_says_who_answers() {
        let (fake, router) = backend();
        fake.set_time(Duration::from_secs(1_768_478_400));
        assert_eq!(
            get(&router, "/api/data").text(),
            r#"{"message":"Hello from the backend","timestamp":"2026-01-15T12:00:00Z","version":"0.1.0","cluster":"local"}"#
        );
        for (name, value) in [("message", "m"), ("app_version", "2.0.0-canary"), ("cluster_name", "east")] {
            fake.setting(name, value);
        }
        assert_eq!(
            get(&router, "/api/data").text(),
            r#"{"message":"m","timestamp":"2026-01-15T12:00:00Z","version":"2.0.0-canary","cluster":"east"}"#
        );
    }

    #[test]
    fn without_keys_the_protected_routes_are_closed_and_the_public_ones_open() {
        let (fake, router) = backend();
        assert_eq!(get(&router, "/api/public/a/b").text(), r#"{"access":"public","path":"a/b"}"#);
        let bearer = [("authorization", "Bearer a.b.c")];
        assert_eq!(send(&router, "GET", "/api/protected/a", &bearer, "").status, 503);
        assert_eq!(get(&router, "/ready").status, 200);
        fake.setting("jwt_issuer", ISSUER);
        let answer = get(&router, "/ready");
        assert_eq!(answer.status, 503, "half of the settings is a mistake");
        assert_eq!(answer.json()["detail"], "setting jwt_jwks: not set, but jwt_issuer is");
    }

    #[test]
    fn a_token_opens_the_protected_routes() {
        let (fake, router) = backend();
        let signer = Signer::known();
        fake.setting("jwt_jwks", &signer.jwks());
        fake.setting("jwt_issuer", ISSUER);
        fake.setting("jwt_audience", AUDIENCE);
        let token = signer.token(&Signer::claims());
        let ask = |headers: &[(&str, &str)]| send(&router, "GET", "/api/protected/a", headers, "");
        for scheme in ["Bearer", "bearer"] {
            assert_eq!(
                ask(&[("authorization", &format!("{scheme} {token}"))]).text(),
                r#"{"access":"protected","path":"a","sub":"alice","iss":"https://issuer.example"}"#
            );
        }
        let bearer = format!("Bearer {token}");
        for headers in [
            &[][..],
            &[("authorization", &*token)],
            &[("authorization", &format!("Basic {token}"))],
            &[("authorization", &bearer), ("authorization", &bearer)],
            &[("x-authorization", &bearer)],
        ] {
            let answer = ask(headers);
            assert_eq!(answer.status, 401, "{headers:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"platform\"", "{headers:?}");
        }
        let answer = ask(&[("authorization", "Bearer a.b.c")]);
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").ends_with("error=\"invalid_token\""));
        fake.advance(Duration::from_secs(3_600));
        assert!(ask(&[("authorization", &bearer)]).text().contains("the token is not valid: it has expired"));
    }
}
