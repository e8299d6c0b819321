//! A small API to try routing, retries and alerts: it names the version that answers, echoes JSON, and answers with any status.
//!
//! | setting | | |
//! | --- | --- | --- |
//! | `app_version` | the release | the version that answers, for canaries |
//! | `cluster_name` | `local` | the cluster that answers |
//! | `pod_name` | | the pod that answers |

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Serialize;
use web::{InvalidSetting, Json, Platform, Problem, Service};

#[cfg(target_family = "wasm")]
web::export!(router);

/// The cluster when the setting `cluster_name` is not set.
const CLUSTER: &str = "local";

/// What `GET /` answers.
#[derive(Debug, Serialize)]
struct Identity {
    service: &'static str,
    version: String,
    cluster: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
}

/// What `GET /status/{code}` answers below 400.
#[derive(Debug, Serialize)]
struct Status {
    status: u16,
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/", get(identity))
        .route("/echo", post(echo))
        .route("/status/{code}", get(status))
        .with_state(platform.clone());
    Service::new("demo-api", platform).openapi(include_str!("openapi.json")).routes(routes)
}

async fn identity(State(platform): State<Platform>) -> Result<Json<Identity>, InvalidSetting> {
    let text = |name, default: &str| platform.setting_or(name, default.to_owned());
    Ok(Json(Identity {
        service: "demo-api",
        version: text("app_version", env!("CARGO_PKG_VERSION"))?,
        cluster: text("cluster_name", CLUSTER)?,
        pod: platform.setting("pod_name")?,
    }))
}

async fn echo(Json(value): Json<serde_json::Value>) -> Json<serde_json::Value> {
    Json(value)
}

async fn status(Path(code): Path<String>) -> Result<Response, Problem> {
    let status = code.parse().ok().filter(|code| (200..600).contains(code));
    let status = status.and_then(|code: u16| StatusCode::from_u16(code).ok());
    let status =
        status.ok_or_else(|| Problem::bad_request(format!("the status is from 200 to 599, not {code:?}")))?;
    if status.is_client_error() || status.is_server_error() {
        return Err(Problem::new(status, "as the request asked"));
    }
    Ok((status, Json(Status { status: status.as_u16() })).into_response())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use web::fake::{Fake, get, send};

    use super::*;

    fn demo() -> (Fake, Router) {
        let fake = Fake::new();
        let router = router(&fake.platform());
        (fake, router)
    }

    #[test]
    fn it_says_who_answers() {
        let (fake, router) = demo();
        assert_eq!(get(&router, "/").text(), r#"{"service":"demo-api","version":"0.1.0","cluster":"local"}"#);
        fake.setting("app_version", "2");
        fake.setting("pod_name", "demo-1");
        assert_eq!(
            get(&router, "/").text(),
            r#"{"service":"demo-api","version":"2","cluster":"local","pod":"demo-1"}"#
        );
    }

    #[test]
    fn it_echoes_json() {
        let (_, router) = demo();
        let body = r#"{"b":[1,null],"a":"ä"}"#;
        let json = [("content-type", "application/json")];
        assert_eq!(send(&router, "POST", "/echo", &json, body).text(), body);
        assert_eq!(send(&router, "POST", "/echo", &[], body).status, 415);
        assert_eq!(
            send(&router, "POST", "/echo", &json, &"[".repeat(10_000)).status,
            400,
            "no stack overflows"
        );
    }

    #[test]
    fn it_answers_any_status() {
        let (_, router) = demo();
        for code in [200, 204, 302, 404, 418, 503, 599] {
            let answer = get(&router, &format!("/status/{code}"));
            assert_eq!(answer.status, code);
            let is_problem = answer.header("content-type") == "application/problem+json";
            assert_eq!(is_problem, code >= 400, "{code}");
        }
        for code in ["199", "600", "-1", "abc", "99999", "2e2"] {
            assert_eq!(get(&router, &format!("/status/{code}")).status, 400, "{code}");
        }
    }

    proptest! {
        #[test]
        fn any_body_has_an_answer(body: String) {
            let status = send(&demo().1, "POST", "/echo", &[("content-type", "application/json")], &body).status;
            prop_assert!([200, 400].contains(&status), "{status}");
        }
    }
}
