//! Responds as GitHub does to `GET /users/{login}/gists` and `GET /user/{id}/gists`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::common::{json_response, now, with_common_headers};
use super::lock::lock;
use super::request::{FakeRequest, unescape};
use super::response::ScriptedResponse;
use super::state::{APP, State};
use super::users::User;

/// GitHub's bounds on `per_page`.
const PER_PAGE: std::ops::RangeInclusive<usize> = 1..=100;
const DEFAULT_PER_PAGE: usize = 30;

/// The login that a path asks for: the name in the path, or the login of the user with the number in the path; [`APP`] if the path
/// asks for a token; `None` for another kind of path.
pub(super) fn login(state: &State, path: &str) -> Option<String> {
    if installation(path).is_some() {
        return Some(APP.to_owned());
    }
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    let (kind, name) = path.strip_suffix("/gists")?.strip_prefix('/')?.split_once('/')?;
    match kind {
        "users" if !name.is_empty() && !name.contains('/') => Some(unescape(name).to_lowercase()),
        "user" => Some(lock(&state.users).id(name.parse().ok()?)?.login.to_lowercase()),
        _ => None,
    }
}

/// The installation whose token a path asks for.
fn installation(path: &str) -> Option<&str> {
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    path.strip_prefix("/app/installations/")?.strip_suffix("/access_tokens")
}

/// The response of GitHub to the request.
pub(super) fn respond(state: &State, request: &FakeRequest) -> ScriptedResponse {
    let not_found = || {
        json_response(
            404,
            &json!({ "message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404" }),
        )
    };
    if let Some(app) = lock(&state.app).as_mut() {
        if let Some(installation) = installation(&request.path).filter(|_| request.method == "POST") {
            return app.respond(request, installation);
        }
        if !app.admits(request.header("authorization")) {
            return json_response(401, &json!({ "message": "Bad credentials" }));
        }
    }
    if request.method != "GET" && request.method != "HEAD" {
        return not_found();
    }
    let Some(user) = login(state, &request.path).and_then(|login| lock(&state.users).login(&login)) else {
        return limited(state, not_found());
    };
    let base = format!("http://{}", request.header("host").unwrap_or("localhost"));
    let (response, body) = list(&user, request, &base);
    let etag = etag(&body, request);
    if request.header("if-none-match").is_some_and(|validator| validator.contains(&etag)) {
        // GitHub does not count a 304 against the limit.
        let unchanged = ScriptedResponse { body: String::new(), ..ScriptedResponse::status(304) };
        return with_common_headers(unchanged).header("etag", &etag);
    }
    limited(state, response.body(body).header("etag", &etag))
}

fn list(user: &Arc<User>, request: &FakeRequest, base: &str) -> (ScriptedResponse, String) {
    let page = request.number("page").unwrap_or(1).max(1);
    let per_page =
        request.number("per_page").filter(|number| PER_PAGE.contains(number)).unwrap_or(DEFAULT_PER_PAGE);
    let authorised = request.header("authorization").is_some();
    let visible: Vec<_> = user.gists.iter().filter(|gist| gist.public || authorised).collect();
    let items: Vec<Value> =
        visible.iter().skip((page - 1) * per_page).take(per_page).map(|gist| gist.json(user, base)).collect();

    let mut response = with_common_headers(ScriptedResponse::json(""))
        .header(
            "cache-control",
            if authorised { "private, max-age=60, s-maxage=60" } else { "public, max-age=60, s-maxage=60" },
        )
        .header(
            "vary",
            "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With",
        );
    let last = visible.len().div_ceil(per_page).max(1);
    let link = |to: usize, rel: &str| {
        format!("<{base}/user/{}/gists?per_page={per_page}&page={to}>; rel=\"{rel}\"", user.id)
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(link(page - 1, "prev"));
    }
    if page < last {
        links.push(link(page + 1, "next"));
        links.push(link(last, "last"));
    }
    if page > 1 {
        links.push(link(1, "first"));
    }
    if !links.is_empty() {
        response = response.header("link", &links.join(", "));
    }
    (response, Value::Array(items).to_string())
}

/// A weak entity tag, as GitHub's are. Another `Accept` or `Authorization` gives another tag.
fn etag(body: &str, request: &FakeRequest) -> String {
    let mut hasher = DefaultHasher::new();
    (body, request.header("accept"), request.header("authorization")).hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}

/// Counts the request against the rate limit, and refuses the request beyond the limit.
fn limited(state: &State, response: ScriptedResponse) -> ScriptedResponse {
    let limit = state.rate_limit.load(Ordering::Relaxed);
    let used = state.used.fetch_add(1, Ordering::Relaxed) + 1;
    let reset = (now() + Duration::from_secs(3_600)).as_secs();
    if used > limit {
        return with_common_headers(ScriptedResponse::rate_limited(reset));
    }
    response
        .header("x-ratelimit-limit", &limit.to_string())
        .header("x-ratelimit-remaining", &(limit - used).to_string())
        .header("x-ratelimit-used", &used.to_string())
        .header("x-ratelimit-reset", &reset.to_string())
        .header("x-ratelimit-resource", "core")
}
