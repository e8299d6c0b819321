//! An incoming request, read as far as somebody asks. Its body is never looked at: no route has one.

use spin_sdk::wasip3::http::types::{Method, Request};

/// The request with its two parts that every route needs.
pub(super) struct Incoming {
    request: Request,
    method: Method,
    target: String,
}

impl Incoming {
    pub(super) fn new(request: Request) -> Self {
        let method = request.get_method();
        let target = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
        Self { request, method, target }
    }
}

impl crate::service::Request for Incoming {
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
        self.request.get_headers().get(name)
    }
}
