//! Responses that the request describes, for tests of the response cache.

use spin_sdk::wasip3::http::types::{Fields, Request, Response};

use super::{clock::wait, responses};

/// The field that describes the response: parts between `|`, each a field, a status, or what happens.
const DESCRIPTION: &str = "x-answer";

/// The response that the request describes. Its body tells the number of the request in this instance, the method, and the
/// fields `If-None-Match`, `If-Modified-Since` and `Range`.
pub(super) async fn answer(request: &Request, served: u32) -> Response {
    let headers = request.get_headers();
    let field = |name: &str| {
        let values = headers.get(name);
        values.first().map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let description = field(DESCRIPTION).unwrap_or_default();
    let (mut status, mut streams, mut fields) = (200, false, Vec::new());
    for part in description.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once(':') {
            Some((name, value)) => fields.push((name.to_owned(), value.trim().as_bytes().to_vec())),
            None => match part.split_once(' ').unwrap_or((part, "")) {
                ("trap", _) => core::arch::wasm32::unreachable(),
                ("wait", ms) => wait(ms.parse().unwrap_or(0)).await,
                ("stream", _) => streams = true,
                (code, _) => status = code.parse().unwrap_or(500),
            },
        }
    }
    let told =
        ["if-none-match", "if-modified-since", "range"].map(|name| field(name).unwrap_or("-".to_owned()));
    let body = format!("{served} {:?} {}", request.get_method(), told.join(" "));
    let fields = Fields::from_list(&fields).expect("the fields are valid");
    let pause = if streams { 20 } else { 0 };
    let response = responses::written(fields, if status == 304 { String::new() } else { body }, pause);
    let _ = response.set_status_code(status);
    response
}
