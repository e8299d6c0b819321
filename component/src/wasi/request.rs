//! [`Request`](crate::ports::Request) on `wasi:http`. The body is never read, because no route uses one.

use spin_sdk::wasip3::http::types::{Method, Request};

/// An incoming request. Method and target are read at once, because every request needs them.
pub(super) struct IncomingRequest {
    request: Request,
    method: Method,
    target: String,
}

impl IncomingRequest {
    pub(super) fn new(request: Request) -> Self {
        let method = request.get_method();
        let target = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
        Self { request, method, target }
    }
}

impl crate::ports::Request for IncomingRequest {
    fn method(&self) -> &str {
        match &self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(other) => other,
        }
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        let headers = self.request.get_headers();
        if headers.has(name) { headers.get(name) } else { Vec::new() }
    }
}
