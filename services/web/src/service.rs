//! What is the same in all services.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::base_path::{self, BasePath};
use crate::body::Json;
use crate::log::Level;
use crate::metrics::{Metrics, Observation};
use crate::platform::Platform;
use crate::problem::{self, Problem};
use crate::settings::InvalidSetting;

/// The version of all services: they are released together.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The routes that probes and scrapers ask. They are not counted.
const UNCOUNTED: [&str; 3] = ["/health", "/ready", "/metrics"];
/// The most bytes of the plain text of an error of axum's own.
const MAX_ERROR_TEXT: usize = 4 * 1024;

/// The headers that each response has, unless it has its own.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Whether a service can work as it is set up.
type Check = dyn Fn(&Platform) -> Result<(), InvalidSetting> + Send + Sync;

/// A service: its name, its document, and when it is ready.
pub struct Service {
    name: &'static str,
    platform: Platform,
    openapi: Cow<'static, str>,
    check: Arc<Check>,
}

/// What the shared routes and the middleware use.
#[derive(Clone)]
struct Shared {
    name: &'static str,
    platform: Platform,
    metrics: Metrics,
    check: Arc<Check>,
}

impl Service {
    /// A service that is always ready and has an OpenAPI document without paths.
    #[must_use]
    pub fn new(name: &'static str, platform: &Platform) -> Self {
        let openapi = json!({"openapi": "3.1.0", "info": {"title": name, "version": VERSION}, "paths": {}});
        Self {
            name,
            platform: platform.clone(),
            openapi: openapi.to_string().into(),
            check: Arc::new(|_| Ok(())),
        }
    }

    /// With an OpenAPI document, as JSON.
    #[must_use]
    pub fn openapi(mut self, document: impl Into<Cow<'static, str>>) -> Self {
        self.openapi = document.into();
        self
    }

    /// Ready when `check` finds its settings valid. `/ready` calls it each time.
    #[must_use]
    pub fn ready_if(
        mut self,
        check: impl Fn(&Platform) -> Result<(), InvalidSetting> + Send + Sync + 'static,
    ) -> Self {
        self.check = Arc::new(check);
        self
    }

    /// The router of the service: `routes` and what is the same everywhere.
    pub fn routes(self, routes: Router) -> Router {
        let Self { name, platform, openapi, check } = self;
        let metrics = Metrics::new(name, VERSION, platform.clone());
        let shared = Shared { name, platform, metrics, check };
        let document = move || {
            let document = openapi.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], document) }
        };
        let common = Router::new()
            .route("/health", get(health))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics_text))
            .route("/openapi.json", get(document))
            .with_state(shared.clone());
        let platform = shared.platform.clone();
        let router = routes
            .merge(common)
            .fallback(async || Problem::not_found("there is nothing at this path"))
            .layer(middleware::from_fn_with_state(shared, around));
        base_path::below(&platform, router)
    }
}

async fn health(State(shared): State<Shared>) -> Response {
    Json(json!({"status": "ok", "service": shared.name, "version": VERSION})).into_response()
}

async fn ready(State(shared): State<Shared>) -> Result<Response, Problem> {
    BasePath::read(&shared.platform)?;
    (shared.check)(&shared.platform)?;
    Ok(Json(json!({"status": "ready", "service": shared.name, "version": VERSION})).into_response())
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], shared.metrics.text()).into_response()
}

/// Runs around each request: counts, logs failures, makes problems of errors, sets headers.
async fn around(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let start = shared.platform.monotonic();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = with_problem(next.run(request).await).await;
    for (name, value) in &HEADERS {
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    let duration = shared.platform.monotonic().saturating_sub(start);
    if response.status().is_server_error() {
        let detail = response.extensions().get::<problem::Detail>().map_or("", |detail| &detail.0);
        let status = response.status();
        let fields = [
            ("service", shared.name),
            ("method", method.as_str()),
            ("path", &path),
            ("status", status.as_str()),
            ("detail", detail),
        ];
        shared.platform.log(Level::Error, "the request failed", &fields);
    }
    let route = route.unwrap_or_else(|| "other".to_owned());
    if !UNCOUNTED.contains(&route.as_str()) {
        let status = response.status().as_u16();
        shared.metrics.observe(Observation { method: label(&method), route, status, duration });
    }
    response
}

/// Methods are bounded, because each makes a series.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Makes a problem of an error that axum answers in plain text or without a body, such as 405.
async fn with_problem(response: Response) -> Response {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_plain = content_type.is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = http_body_util::Limited::new(body, MAX_ERROR_TEXT).collect().await.ok();
    let text = text.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED if text.is_empty() => {
            "the method is not allowed; the header `allow` lists those that are".to_owned()
        }
        _ => text,
    };
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    let mut problem = Problem::new(status, detail).into_response();
    for (name, value) in &parts.headers {
        problem.headers_mut().append(name, value.clone());
    }
    problem
}

#[cfg(test)]
mod tests {
    use axum::routing::post;

    use super::*;
    use crate::fake::{Fake, get, send};
    use crate::query::Query;

    fn router(fake: &Fake) -> Router {
        #[derive(serde::Deserialize)]
        struct Page {
            page: u8,
        }
        let routes = Router::new()
            .route("/items/{id}", axum::routing::get(async || "an item"))
            .route("/page", axum::routing::get(async |Query(page): Query<Page>| page.page.to_string()))
            .route("/fail", post(async || Problem::unavailable("the store is away")));
        let check = |platform: &Platform| platform.setting::<u16>("port").map(|_| ());
        Service::new("example", &fake.platform()).ready_if(check).routes(routes)
    }

    #[test]
    fn every_service_has_the_same_routes() {
        let fake = Fake::new();
        let router = router(&fake);
        let answer = get(&router, "/health");
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")));
        assert_eq!(get(&router, "/ready").json()["status"], "ready");
        assert_eq!(get(&router, "/openapi.json").json()["info"]["title"], "example");
        fake.setting("port", "x");
        let answer = get(&router, "/ready");
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.json()["detail"],
            "setting port: \"x\" is not valid: expected a number from 0 to 65535"
        );
    }

    #[test]
    fn a_service_below_a_path_answers_with_and_without_the_path() {
        let fake = Fake::new();
        let router = router(&fake);
        fake.setting("base_path", "/example");
        for target in ["/example/page?page=3", "/page?page=3"] {
            assert_eq!(get(&router, target).text(), "3", "{target}");
        }
        assert!(get(&router, "/example/metrics").text().contains("route=\"/page\",status=\"200\"} 2"));
        fake.setting("base_path", "example");
        let answer = get(&router, "/ready");
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("setting base_path"), "{}", answer.text());
    }

    #[test]
    fn requests_are_counted_by_route_and_probes_are_not() {
        let fake = Fake::new();
        let router = router(&fake);
        for path in ["/items/1", "/items/2", "/ready", "/nothing/1", "/nothing/2"] {
            get(&router, path);
        }
        let text = get(&router, "/metrics").text().to_owned();
        let counted: Vec<_> = text.lines().filter(|line| line.starts_with("http_requests_total")).collect();
        assert_eq!(
            counted,
            [
                "http_requests_total{service=\"example\",method=\"GET\",route=\"/items/{id}\",status=\"200\"} 2",
                "http_requests_total{service=\"example\",method=\"GET\",route=\"other\",status=\"404\"} 2",
            ]
        );
    }

    #[test]
    fn every_error_is_a_problem() {
        let fake = Fake::new();
        let router = router(&fake);
        for (method, path, status, detail) in [
            ("GET", "/nothing", 404, "nothing at this path"),
            ("DELETE", "/items/1", 405, "allow"),
            ("GET", "/page?page=256", 400, "page: number too large"),
            ("GET", "/page", 400, "missing field `page`"),
            ("POST", "/fail", 503, "the store is away"),
        ] {
            let answer = send(&router, method, path, &[], "");
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
            assert_eq!(answer.json()["status"], status, "{path}");
            let text = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(text.contains(detail), "{path}: {text}");
            assert_eq!(answer.header("content-length"), answer.text().len().to_string(), "{path}");
        }
        assert_eq!(send(&router, "DELETE", "/items/1", &[], "").header("allow"), "GET,HEAD");
    }

    #[test]
    fn failures_are_logged_with_their_reason() {
        let fake = Fake::new();
        send(&router(&fake), "POST", "/fail", &[], "");
        assert_eq!(
            fake.log_lines(),
            [
                r#"{"level":"ERROR","message":"the request failed","service":"example","method":"POST","path":"/fail","status":"503","detail":"the store is away"}"#
            ]
        );
    }

    #[test]
    fn responses_have_the_security_headers() {
        let fake = Fake::new();
        let answer = get(&router(&fake), "/items/1");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}
