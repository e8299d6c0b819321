//! The response cache in the running host. The crate's own tests show what is stored and reused.

mod operator;
mod security;
mod sharing;

use testkit::{Host, http::Response};

use crate::harness::start_guest;

/// A response that may be reused for a minute.
const FRESH: &str = "cache-control: max-age=60";

/// A host with a cache and one instance, whose guest counts its requests.
async fn start(flags: &[&str]) -> Host {
    let one = ["--threads", "1", "--max-instances", "1", "--response-cache", "1MiB"];
    start_guest("service", &[&one[..], flags].concat()).await
}

/// A `GET` to which the guest, if it is asked, answers with what `answer` describes.
async fn get(host: &Host, path: &str, answer: &str) -> Response {
    get_with(host, path, answer, &[]).await
}

async fn get_with(host: &Host, path: &str, answer: &str, headers: &[(&str, &str)]) -> Response {
    let request = host.request("GET", path).header("x-answer", answer);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
}

/// The number of the request that the response was made for.
fn number(response: &Response) -> u32 {
    let text = response.text();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

fn status(response: &Response) -> &str {
    response.header("cache-status").unwrap_or("-")
}
