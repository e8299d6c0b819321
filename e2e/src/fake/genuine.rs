//! What GitHub would answer: `GET /users/{login}/gists` and `GET /user/{id}/gists`, with its headers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::connection::Request;
use super::people::User;
use super::{Answer, Shared, lock};

/// GitHub's bounds on `per_page`.
const PER_PAGE: std::ops::RangeInclusive<usize> = 1..=100;
const DEFAULT_PER_PAGE: usize = 30;

/// Whom a path asks for: the path's own word, or the login of a numbered user; `None` for another kind of path.
pub(crate) fn login(shared: &Shared, path: &str) -> Option<String> {
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    let (kind, name) = path.strip_suffix("/gists")?.strip_prefix('/')?.split_once('/')?;
    match kind {
        "users" if !name.is_empty() && !name.contains('/') => Some(unescape(name).to_lowercase()),
        "user" => Some(lock(&shared.people).id(name.parse().ok()?)?.login.to_lowercase()),
        _ => None,
    }
}

/// The truth about the request.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    let not_found = || {
        Answer::from((
            404,
            json!({ "message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404" }),
        ))
    };
    if request.method != "GET" && request.method != "HEAD" {
        return not_found();
    }
    let Some(user) = login(shared, &request.path).and_then(|login| lock(&shared.people).login(&login)) else {
        return limited(shared, not_found());
    };
    let base = format!("http://{}", request.header("host").unwrap_or("localhost"));
    let (answer, body) = list(&user, request, &base);
    let etag = etag(&body, request);
    if request.header("if-none-match").is_some_and(|validator| validator.contains(&etag)) {
        // Not counted against the limit.
        return dress(Answer { body: String::new(), ..Answer::status(304) }).header("etag", &etag);
    }
    limited(shared, answer.body(body).header("etag", &etag))
}

fn list(user: &Arc<User>, request: &Request, base: &str) -> (Answer, String) {
    let number = |name: &str| {
        let found = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(known, _)| *known == name);
        found.and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let page = number("page").unwrap_or(1).max(1);
    let per_page = number("per_page").filter(|number| PER_PAGE.contains(number)).unwrap_or(DEFAULT_PER_PAGE);
    let authorised = request.header("authorization").is_some();
    let visible: Vec<_> = user.gists.iter().filter(|gist| gist.public || authorised).collect();
    let items: Vec<Value> =
        visible.iter().skip((page - 1) * per_page).take(per_page).map(|gist| gist.json(user, base)).collect();

    let mut answer = dress(Answer::json(""))
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
        answer = answer.header("link", &links.join(", "));
    }
    (answer, Value::Array(items).to_string())
}

/// GitHub's tags are weak, and another `Accept` or `Authorization` gives another tag.
fn etag(body: &str, request: &Request) -> String {
    let parts =
        [body, request.header("accept").unwrap_or("*/*"), request.header("authorization").unwrap_or("")];
    let hash = parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("W/\"{hash:016x}\"")
}

/// Counts the request; beyond the limit it is refused.
fn limited(shared: &Shared, answer: Answer) -> Answer {
    let limit = shared.rate_limit.load(Ordering::Relaxed);
    let used = shared.used.fetch_add(1, Ordering::Relaxed) + 1;
    let reset = (now() + Duration::from_secs(3_600)).as_secs();
    if used > limit {
        return dress(Answer::rate_limited(reset));
    }
    answer
        .header("x-ratelimit-limit", &limit.to_string())
        .header("x-ratelimit-remaining", &(limit - used).to_string())
        .header("x-ratelimit-used", &used.to_string())
        .header("x-ratelimit-reset", &reset.to_string())
        .header("x-ratelimit-resource", "core")
}

/// Adds what every answer of GitHub's carries, below what the answer says itself.
pub(crate) fn dress(mut answer: Answer) -> Answer {
    let common = [
        ("server", "github.com"),
        ("content-type", "application/json; charset=utf-8"),
        ("x-github-media-type", "github.v3; format=json"),
        ("x-github-api-version-selected", "2022-11-28"),
        ("x-github-request-id", "FA4E:0001:1"),
        ("access-control-allow-origin", "*"),
    ];
    for (name, value) in common {
        if !answer.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            answer = answer.header(name, value);
        }
    }
    // A scripted empty value means: without this header.
    answer.headers.retain(|(_, value)| !value.is_empty());
    answer
}

/// Time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Undoes percent-encoding; what is not valid stays as it is.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match byte {
            Some(byte) => {
                bytes.push(byte);
                after.get(2..).unwrap_or_default()
            }
            None => {
                bytes.push(b'%');
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
