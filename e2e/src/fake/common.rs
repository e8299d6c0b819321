//! What all responses of GitHub have in common.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::response::ScriptedResponse;

/// A JSON response with the headers that each of GitHub's responses has.
pub(super) fn json_response(status: u16, body: &Value) -> ScriptedResponse {
    with_common_headers(ScriptedResponse::status(status).body(body.to_string()))
}

/// Adds the headers that each of GitHub's responses has. The response's own headers win; an empty value removes a header.
pub(super) fn with_common_headers(mut response: ScriptedResponse) -> ScriptedResponse {
    let common = [
        ("server", "github.com"),
        ("content-type", "application/json; charset=utf-8"),
        ("x-github-media-type", "github.v3; format=json"),
        ("x-github-api-version-selected", "2022-11-28"),
        ("x-github-request-id", "FA4E:0001:1"),
        ("access-control-allow-origin", "*"),
    ];
    let common = common.map(|(name, value)| (name, value.to_owned()));
    for (name, value) in common.into_iter().chain([("date", http_date(now()))]) {
        if !response.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            response = response.header(name, &value);
        }
    }
    response.headers.retain(|(_, value)| !value.is_empty());
    response
}

/// A time since 1970 as HTTP writes it.
pub(super) fn http_date(time: Duration) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + time)
}

/// The time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
