//! Service B: `GET /ping_service_a` asks service A, and answers with its own message and A's.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use web::{FetchError, InvalidSetting, Json, Outgoing, Platform, Problem, Service};

#[cfg(target_family = "wasm")]
web::export!(router);

/// The message when the setting `message` is not set.
const MESSAGE: &str = "Hello from service B";
/// The address of service A when the setting `service_a_url` is not set: in the same process.
const SERVICE_A_URL: &str = "http://service-a.spin.internal";
/// How long a request to service A may take when the setting `service_a_timeout` is not set.
const SERVICE_A_TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of service A's answer.
const MAX_BODY: usize = 16 * 1024;

/// What services A and B answer at `/`.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    message: String,
}

/// What `/ping_service_a` answers.
#[derive(Debug, Serialize)]
struct Ping {
    message: String,
    service_a: Greeting,
}

/// The settings.
struct Settings {
    message: String,
    service_a_url: Uri,
    service_a_timeout: Duration,
}

impl Settings {
    fn read(platform: &Platform) -> Result<Self, InvalidSetting> {
        Ok(Self {
            message: platform.setting_or("message", MESSAGE.to_owned())?,
            service_a_url: platform.origin_or("service_a_url", SERVICE_A_URL)?,
            service_a_timeout: platform.setting_or("service_a_timeout", SERVICE_A_TIMEOUT)?,
        })
    }
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes =
        Router::new().route("/", get(greet)).route("/ping_service_a", get(ping)).with_state(platform.clone());
    Service::new("service-b", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| Settings::read(platform).map(|_| ()))
        .routes(routes)
}

async fn greet(State(platform): State<Platform>) -> Result<Json<Greeting>, InvalidSetting> {
    Ok(Json(Greeting { message: Settings::read(&platform)?.message }))
}

async fn ping(State(platform): State<Platform>, headers: HeaderMap) -> Result<Json<Ping>, Problem> {
    const NAME: &str = "service A";
    let Settings { message, service_a_url, service_a_timeout } = Settings::read(&platform)?;
    let request = Outgoing::get(service_a_url).trace(&headers).timeout(service_a_timeout).max_body(MAX_BODY);
    let answer = platform.fetch(request).await.map_err(|error| error.problem(NAME))?;
    if answer.status() != StatusCode::OK {
        let reason = format!("status {}", answer.status().as_u16());
        return Err(FetchError::Protocol(reason).problem(NAME));
    }
    let service_a = serde_json::from_slice(answer.body())
        .map_err(|error| FetchError::Protocol(error.to_string()).problem(NAME))?;
    Ok(Json(Ping { message, service_a }))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use web::fake::{Fake, get, send};

    use super::*;

    const A: &str = "service-a.spin.internal";

    /// Service B, and a service A that answers `body`.
    fn services(status: u16, body: &'static str) -> (Fake, Router) {
        let fake = Fake::new();
        let status = StatusCode::from_u16(status).unwrap();
        fake.serve(A, Router::new().route("/", axum::routing::get(move || async move { (status, body) })));
        let router = router(&fake.platform());
        (fake, router)
    }

    #[test]
    fn it_answers_with_both_messages() {
        let (fake, router) = services(200, r#"{"message":"from A","more":1}"#);
        assert_eq!(
            get(&router, "/ping_service_a").text(),
            r#"{"message":"Hello from service B","service_a":{"message":"from A"}}"#
        );
        fake.setting("message", "B");
        assert_eq!(get(&router, "/").text(), r#"{"message":"B"}"#);
    }

    #[test]
    fn the_trace_goes_on() {
        let (fake, router) = services(200, r#"{"message":"from A"}"#);
        let trace = [
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "a=1"),
            ("authorization", "Bearer secret"),
        ];
        send(&router, "GET", "/ping_service_a", &trace, "");
        let [request] = &fake.requests()[..] else { panic!("one request") };
        assert_eq!(request.headers["traceparent"], trace[0].1);
        assert_eq!(request.headers["tracestate"], "a=1");
        assert_eq!(request.headers.len(), 2, "nothing else is passed on");
        assert_eq!(request.timeout, SERVICE_A_TIMEOUT);
    }

    #[test]
    fn an_absent_or_broken_a_is_a_problem_that_names_the_reason() {
        let (fake, router) = services(200, "");
        for (error, status, detail) in [
            (FetchError::Timeout, 504, "service A: no response in time"),
            (FetchError::Connect("refused".to_owned()), 502, "service A: no connection: refused"),
            (FetchError::BodyTooLarge, 502, "service A: the response's body is too large"),
        ] {
            fake.fail(A, error);
            let answer = get(&router, "/ping_service_a");
            assert_eq!((answer.status, answer.json()["detail"].as_str()), (status, Some(detail)));
        }
        for (status, body, reason) in [
            (500, r#"{"message":"from A"}"#, "status 500"),
            (200, "[", "EOF while parsing"),
            (200, r#"{"text":"from A"}"#, "missing field `message`"),
        ] {
            let (_, router) = services(status, body);
            let answer = get(&router, "/ping_service_a");
            let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert_eq!(answer.status, 502, "{body}");
            assert!(
                detail.starts_with("service A: invalid response: ") && detail.contains(reason),
                "{detail}"
            );
        }
    }

    #[test]
    fn an_endless_answer_is_not_read() {
        let fake = Fake::new();
        let endless = || async { "x".repeat(MAX_BODY + 1).into_response() };
        fake.serve(A, Router::new().route("/", axum::routing::get(endless)));
        let answer = get(&router(&fake.platform()), "/ping_service_a");
        assert_eq!(answer.json()["detail"], "service A: the response's body is too large");
    }

    #[test]
    fn an_invalid_setting_makes_it_unready() {
        let (fake, router) = services(200, "");
        fake.setting("service_a_url", "service-a:8011");
        let answer = get(&router, "/ready");
        assert_eq!(
            answer.json()["detail"],
            "setting service_a_url: \"service-a:8011\" is not valid: expected a URL such as http://name:8080"
        );
    }
}
