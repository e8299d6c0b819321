//! The entry point: answers a request, from routing to the response, and counts it.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

pub use crate::app::{AfterResponse, App};
use crate::metrics::{self, Counter};
use crate::pages;
use crate::ports::{Platform, Request, StoreError};
use crate::recent::RecentPage;
use crate::request::rejection::Rejection;
use crate::request::route::{self, Endpoint, Method, Route, Routed};
use crate::request::target::PageTarget;
use crate::response::accept;
use crate::response::error::{Error, Refusal};
use crate::response::problem::{self, Form};
use crate::response::{self, Body, PlainHead, Response};
use crate::response::{docs, openapi};

/// Answers a request. A `HEAD` gets the same response as a `GET`, body included: the host leaves out the body, and a
/// host checks that the body has the stated length. The platform runs the returned work after the response is sent.
pub async fn handle<P: Platform>(app: &Rc<App<P>>, request: &impl Request) -> (Response, AfterResponse<P>) {
    let started = app.platform.monotonic();
    let active = app.enter();
    let method = Method::new(request.method());
    // The page of a target that was asked for lately is known without routing and validation.
    let recent = if method.reads() { app.recent.get(request.target()) } else { None };
    let routed = match &recent {
        Some(RecentPage { target, .. }) => {
            let name = Cow::Borrowed(target.username.as_asked());
            Routed { endpoint: target.endpoint, query: &target.raw_query, route: Ok(Route::Gists { name }) }
        }
        None => route::route(method, request.target()),
    };
    let endpoint = routed.endpoint;
    let answer = match routed.route {
        Ok(route) => {
            let page = recent.as_ref();
            dispatch(app, request, Dispatch { endpoint, route, query: routed.query, page, started }).await
        }
        Err(rejection) => {
            preflight(app, request, method, &rejection).ok_or_else(|| Error::from(rejection).into())
        }
    };
    let response = answer.unwrap_or_else(|refusal| refuse(app, request, &refusal));
    drop(active);
    let duration = app.platform.monotonic().saturating_sub(started);
    for (counter, count) in Counter::of_request(endpoint, method, response.head.status(), duration) {
        app.stats.add(counter, count);
    }
    (response, app.flush_after_response())
}

/// A routed request.
struct Dispatch<'r> {
    endpoint: Endpoint,
    route: Route<'r>,
    query: &'r str,
    /// The page that the request asks for, if it was asked for lately.
    page: Option<&'r RecentPage>,
    /// When the request arrived (monotonic).
    started: Duration,
}

/// Runs the operation of a route.
async fn dispatch<P: Platform>(
    app: &Rc<App<P>>,
    request: &impl Request,
    routed: Dispatch<'_>,
) -> Result<Response, Refusal> {
    let Dispatch { endpoint, route, query, page, started } = routed;
    match route {
        Route::Health => Ok(health(app)),
        Route::Ready => Ok(ready(app, query)),
        Route::Gists { name } => {
            let page = match page {
                Some(page) => page.clone(),
                None => {
                    let target = Rc::new(PageTarget::new(endpoint, &name, query).map_err(Error::from)?);
                    let page = RecentPage { target, keys: Rc::default() };
                    app.recent.insert(request.target(), page.clone());
                    page
                }
            };
            pages::handle(app, request, page, started).await
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

/// The answer to a browser that asks whether a page of another origin may send a request (a CORS preflight); `None` if the
/// request is something else, or if `cors_allow_origin` allows no other origin.
fn preflight<P: Platform>(
    app: &App<P>,
    request: &impl Request,
    method: Method,
    rejection: &Rejection,
) -> Option<Response> {
    let is_preflight = method == Method::Options
        && matches!(rejection, Rejection::MethodNotAllowed { .. })
        && ["origin", "access-control-request-method"].iter().all(|name| !request.header(name).is_empty());
    is_preflight.then(|| app.cors().map(Response::preflight)).flatten()
}

/// Liveness: the instance can answer. Uses neither settings nor store nor GitHub.
fn health<P: Platform>(app: &App<P>) -> Response {
    const HEALTHY: &[u8] = br#"{"status":"healthy","service":"github-gists-api"}"#;
    Response::plain(200, PlainHead::new("application/json"), Body::Fixed(HEALTHY), app.cors())
}

/// Readiness: whether the settings are valid. With `?verbose`, also version, cluster and pod.
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

/// The statistics of the current generation, over all instances that share the store.
async fn cache_stats<P: Platform>(app: &Rc<App<P>>) -> Result<Response, Refusal> {
    let configured = app.configured()?;
    app.flush().await;
    let stats = async {
        let cache = app.cache(&configured.settings)?;
        cache.stats(&app.platform).await
    };
    let (tally, size) = stats.await.map_err(|error| unavailable(app, &error))?;
    let hit_rate = match tally.hits.saturating_add(tally.misses) {
        0 => 0.0,
        // Exact up to 2^53 requests.
        requests => tally.hits as f64 / requests as f64,
    };
    let stats = serde_json::json!({
        "size": size,
        "hits": tally.hits,
        "misses": tally.misses,
        "hit_rate": hit_rate,
        "ttl_seconds": configured.settings.cache_ttl.as_secs(),
    });
    Ok(json(app, 200, &stats))
}

/// Ends the current generation. Checks the token if `admin_token` is set.
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
    let body =
        Body::Owned(serde_json::json!({"message": "Cache cleared successfully"}).to_string().into_bytes());
    let head = PlainHead {
        // Caches that answer for this service must forget the pages as well.
        extra: Some(("cache-group-invalidation", response::conditional::GROUP.to_owned())),
        ..PlainHead::new("application/json")
    };
    Ok(Response::plain(200, head, body, app.cors()))
}

/// The token of an `Authorization: Bearer` header (RFC 6750, 2.1); `None` for another scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest.trim_ascii())
}

/// The metrics of all instances that share the store.
async fn scrape<P: Platform>(app: &Rc<App<P>>) -> Result<Response, Refusal> {
    let configured = app.configured()?;
    app.flush().await;
    let snapshot = async {
        let store = app.metrics_store(&configured.settings)?;
        app.stats.snapshot(app.platform.system(), &*store).await
    };
    let snapshot = snapshot.await.map_err(|error| unavailable(app, &error))?;
    let body = Body::Owned(snapshot.render().into_bytes());
    Ok(Response::plain(200, PlainHead::new(metrics::CONTENT_TYPE), body, app.cors()))
}

/// Counts and logs a failure of a store without which there is no answer.
fn unavailable<P: Platform>(app: &App<P>, error: &StoreError) -> Error {
    app.report_cache_error(error);
    Error::StoreUnavailable
}

/// A constant document, which caches may store for an hour.
fn fixed<P: Platform>(
    app: &App<P>,
    content_type: &'static str,
    policy: &'static str,
    document: &'static str,
) -> Response {
    let cache_control = Cow::Borrowed("public, max-age=3600");
    let head = PlainHead { policy, cache_control, ..PlainHead::new(content_type) };
    Response::plain(200, head, Body::Fixed(document.as_bytes()), app.cors())
}

/// A JSON body that caches must not store.
fn json<P: Platform>(app: &App<P>, status: u16, body: &serde_json::Value) -> Response {
    let body = Body::Owned(body.to_string().into_bytes());
    Response::plain(status, PlainHead::new("application/json"), body, app.cors())
}

/// The form of errors that the client's `Accept` asks for. Several fields count as one list.
fn error_form(request: &impl Request) -> Form {
    let fields = request.header("accept");
    let fields: Vec<&str> = fields.iter().filter_map(|field| str::from_utf8(field).ok()).collect();
    accept::error_form((!fields.is_empty()).then(|| fields.join(",")).as_deref())
}

/// The response for a refusal. Logs it if its row in the error table has a level.
fn refuse<P: Platform>(app: &App<P>, request: &impl Request, refusal: &Refusal) -> Response {
    let form = error_form(request);
    let body = problem::body(&refusal.error, form);
    let appearance = refusal.error.appearance();
    if let Some(level) = appearance.level {
        let fields = [("error", appearance.label), ("reason", &*appearance.detail)];
        app.log_throttled(level, appearance.label, "request refused", &fields);
    }
    let head = PlainHead {
        content_type: if body.is_empty() { "" } else { form.content_type() },
        cache_control: appearance.cache_control,
        policy: response::NO_CONTENT_POLICY,
        varies: true,
        cache_status: refusal.cache_status,
        extra: appearance.header.map(|(name, value)| (name, value.into_owned())),
    };
    Response::plain(appearance.status, head, Body::Owned(body), app.cors())
}
