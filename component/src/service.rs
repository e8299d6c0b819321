//! A request's way, from top to bottom.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

pub use crate::app::{App, Behind};
use crate::metrics::stats;
use crate::metrics::{self, Counter};
use crate::pages;
use crate::ports::{Level, Platform, StoreError};
use crate::request::route::{self, Endpoint, Method, Route};
use crate::response::accept;
use crate::response::conditional::CacheStatus;
use crate::response::error::Error;
use crate::response::problem::{self, Form};
use crate::response::{self, Body, Plain, Response};
use crate::response::{docs, openapi};

/// A request, read as far as somebody asks. None of the routes has a use for a body.
pub trait Request {
    /// The method's name.
    fn method(&self) -> &str;
    /// Path and query.
    fn target(&self) -> &str;
    /// The values of a header, by its name in lower case.
    fn header(&self, name: &str) -> Vec<Vec<u8>>;
}

/// Answers one request. `HEAD` gets what `GET` would: it is the host that sends a head alone, and a host holds the
/// stated length against the body that it is given. What comes with the response is to be run when that is out.
pub async fn handle<P: Platform>(app: &Rc<App<P>>, request: &impl Request) -> (Response, Behind<P>) {
    let started = app.platform.monotonic();
    let active = app.enter();
    let method = Method::new(request.method());
    let routed = route::route(method, request.target());
    let endpoint = routed.endpoint;
    let answer = match routed.route {
        Ok(route) => dispatch(app, request, endpoint, route, routed.query, started).await,
        Err(error) => Err(Refusal::from(error)),
    };
    let response = answer.unwrap_or_else(|refusal| refusal.response(app, request));
    drop(active);
    let duration = app.platform.monotonic().saturating_sub(started);
    for (counter, count) in Counter::of_request(endpoint, method, response.head.status(), duration) {
        app.stats.add(counter, count);
    }
    (response, app.flush_behind())
}

async fn dispatch<P: Platform>(
    app: &Rc<App<P>>,
    request: &impl Request,
    endpoint: Endpoint,
    route: Route<'_>,
    query: &str,
    started: Duration,
) -> Result<Response, Refusal> {
    match route {
        Route::Health => Ok(health(app)),
        Route::Ready => Ok(ready(app, query)),
        Route::Gists { name } => {
            let asked = pages::Asked { endpoint, name: &name, raw_query: query, started };
            pages::gists(app, request, asked).await
        }
        Route::CacheStats => cache_stats(app).await,
        Route::ClearCache => clear_cache(app, request).await,
        Route::Metrics => scrape(app).await,
        Route::OpenApi => {
            Ok(fixed(app, openapi::CONTENT_TYPE, response::NO_CONTENT_POLICY, openapi::DOCUMENT))
        }
        Route::Docs => Ok(fixed(app, docs::CONTENT_TYPE, docs::CONTENT_SECURITY_POLICY, docs::PAGE)),
    }
}

/// The process is alive; nothing else is looked at.
fn health<P: Platform>(app: &App<P>) -> Response {
    const HEALTHY: &[u8] = br#"{"status":"healthy","service":"github-gists-api"}"#;
    Response::plain(200, Plain::new("application/json"), Body::Fixed(HEALTHY), app.cors())
}

/// Whether the settings are usable; with `?verbose` also who answers.
fn ready<P: Platform>(app: &App<P>, query: &str) -> Response {
    let mut body = serde_json::Map::new();
    let mut member = |name: &str, value: &str| body.insert(name.to_owned(), value.into());
    let status = match app.configured() {
        Ok(configured) => {
            member("status", "ready");
            if query.split('&').any(|pair| pair.split('=').next() == Some("verbose")) {
                member("version", &configured.settings.app_version);
                member("cluster", &configured.settings.cluster_name);
                member("pod", &configured.settings.pod_name);
            }
            200
        }
        Err(error) => {
            member("status", "not ready");
            match &error {
                Error::Misconfigured { reason } => member("reason", reason),
                other => member("reason", &other.appearance().detail),
            };
            503
        }
    };
    json(app, status, &body.into())
}

async fn cache_stats<P: Platform>(app: &Rc<App<P>>) -> Result<Response, Refusal> {
    let configured = app.configured()?;
    app.flush().await;
    let tally = async {
        let cache = app.cache(&configured.settings)?;
        match cache.present_generation().await? {
            Some(generation) => stats::read_tally(&**cache.store(), generation).await,
            None => Ok(stats::Tally::default()),
        }
    };
    let tally = tally.await.map_err(|error| unavailable(app, &error))?;
    let hit_rate = match tally.hits.saturating_add(tally.misses) {
        0 => 0.0,
        // Exact for up to 2^53 requests.
        asked => tally.hits as f64 / asked as f64,
    };
    let stats = serde_json::json!({
        "size": tally.size,
        "hits": tally.hits,
        "misses": tally.misses,
        "hit_rate": hit_rate,
        "ttl_seconds": configured.settings.cache_ttl.as_secs(),
    });
    Ok(json(app, 200, &stats))
}

async fn clear_cache<P: Platform>(app: &Rc<App<P>>, request: &impl Request) -> Result<Response, Refusal> {
    let configured = app.configured()?;
    if let Some(token) = &configured.settings.admin_token {
        let authorization = request.header("authorization");
        let given = match authorization.as_slice() {
            [value] => bearer(value),
            _ => None,
        };
        if !given.is_some_and(|given| token.matches(given)) {
            return Err(Error::Unauthorized.into());
        }
    }
    let cleared = async { app.cache(&configured.settings)?.clear(&app.platform).await };
    cleared.await.map_err(|error| unavailable(app, &error))?;
    Ok(json(app, 200, &serde_json::json!({"message": "Cache cleared successfully"})))
}

/// The token of an `Authorization` header.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest.trim_ascii())
}

async fn scrape<P: Platform>(app: &Rc<App<P>>) -> Result<Response, Refusal> {
    let configured = app.configured()?;
    app.flush().await;
    let snapshot = async {
        let store = app.metrics_store(&configured.settings)?;
        app.stats.snapshot(app.platform.system(), &*store).await
    };
    let snapshot = snapshot.await.map_err(|error| unavailable(app, &error))?;
    let body = Body::Made(snapshot.render().into_bytes());
    Ok(Response::plain(200, Plain::new(metrics::CONTENT_TYPE), body, app.cors()))
}

fn unavailable<P: Platform>(app: &App<P>, error: &StoreError) -> Error {
    app.complain(error);
    Error::StoreUnavailable
}

fn fixed<P: Platform>(
    app: &App<P>,
    content_type: &'static str,
    policy: &'static str,
    document: &'static str,
) -> Response {
    let cache_control = Cow::Borrowed("public, max-age=3600");
    let plain = Plain { policy, cache_control, ..Plain::new(content_type) };
    Response::plain(200, plain, Body::Fixed(document.as_bytes()), app.cors())
}

fn json<P: Platform>(app: &App<P>, status: u16, body: &serde_json::Value) -> Response {
    let body = Body::Made(body.to_string().into_bytes());
    Response::plain(status, Plain::new("application/json"), body, app.cors())
}

/// An error, and what the cache had to do with it.
#[derive(Debug)]
pub struct Refusal {
    /// The error.
    pub error: Error,
    /// How the cache came to it, where it was asked.
    pub cache_status: Option<CacheStatus>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, cache_status: None }
    }
}

/// The form of error that the client's `Accept` asks for; several fields count as one.
fn error_form(request: &impl Request) -> Form {
    let fields = request.header("accept");
    let fields: Vec<&str> = fields.iter().filter_map(|field| str::from_utf8(field).ok()).collect();
    accept::error_form((!fields.is_empty()).then(|| fields.join(",")).as_deref())
}

impl Refusal {
    fn response<P: Platform>(self, app: &App<P>, request: &impl Request) -> Response {
        let form = error_form(request);
        let body = problem::body(&self.error, form);
        let appearance = self.error.appearance();
        if let Some(level) = appearance.level.filter(|level| *level >= Level::Warn) {
            let message = format!("{}: {}", appearance.label, appearance.detail);
            app.log_sparingly(level, appearance.label, &message);
        }
        let plain = Plain {
            content_type: if body.is_empty() { "" } else { form.content_type() },
            cache_control: appearance.cache_control,
            policy: response::NO_CONTENT_POLICY,
            varies: true,
            cache_status: self.cache_status,
            extra: appearance.header.map(|(name, value)| (name, value.into_owned())),
        };
        Response::plain(appearance.status, plain, Body::Made(body), app.cors())
    }
}
