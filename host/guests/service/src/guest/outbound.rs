//! Outbound requests by the client of WASI 0.3.

use spin_sdk::{
    wasip3::{
        self,
        http::{
            client,
            types::{Fields, Method, Request, Response, Scheme},
        },
    },
    wit_bindgen,
};

/// Returns a request for `{scheme}://{authority}/{path}`.
fn get_request(scheme: &Scheme, target: &str) -> Request {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let _ = request.set_method(&Method::Get);
    let _ = request.set_scheme(Some(scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    request
}

/// Requests `http://{target}`. Returns the response's status and text, or the error.
pub(super) async fn ask(target: &str) -> String {
    ask_by(&Scheme::Http, target).await
}

/// Requests `https://{target}`. Returns the response's status and text, or the error.
pub(super) async fn ask_securely(target: &str) -> String {
    ask_by(&Scheme::Https, target).await
}

async fn ask_by(scheme: &Scheme, target: &str) -> String {
    let response = match client::send(get_request(scheme, target)).await {
        Ok(response) => response,
        Err(error) => return format!("error {error:?}"),
    };
    let status = response.get_status_code();
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Response::consume_body(response, result);
    let mut all = Vec::new();
    loop {
        let (state, bytes) = body.read(Vec::with_capacity(16 << 10)).await;
        all.extend(bytes);
        if matches!(state, wit_bindgen::StreamResult::Dropped) {
            return format!("{status} {}", String::from_utf8_lossy(&all));
        }
    }
}

/// Requests `http://{authority}/{path}`, with `parent` as `traceparent`. Returns the response's status, or the error.
pub(super) async fn fetch(target: &str, parent: Option<&str>) -> String {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
    let headers = Fields::new();
    if let Some(parent) = parent {
        headers.append("traceparent", parent.as_bytes()).expect("the header is valid");
    }
    let (request, _sent) = Request::new(headers, None, trailers, None);
    let _ = request.set_method(&Method::Get);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    match client::send(request).await {
        Ok(response) => format!("status {}", response.get_status_code()),
        Err(error) => format!("error {error:?}"),
    }
}

/// Requests `http://{target}` and leaks the response without reading it.
pub(super) async fn forget(target: &str) -> String {
    match client::send(get_request(&Scheme::Http, target)).await {
        Ok(response) => {
            std::mem::forget(response);
            "forgotten".to_owned()
        }
        Err(error) => format!("error {error:?}"),
    }
}
