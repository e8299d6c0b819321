//! The span of a client's request.

use std::{borrow::Cow, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header,
    uri::{Authority, Scheme},
};
use wasi_http_host_core::bounded;
use wasi_http_host_telemetry::trace::{
    Attributes, Origin, PATH_BYTES, Server, Span, SpanDetails, SpanKind, SpanSummary, Start, Tracer,
    bounded_method,
};

/// The span of a client's request. A span that is not sampled has an id too.
pub(super) struct ServerSpan {
    tracer: Arc<Tracer>,
    origin: Arc<Origin>,
    parent: Option<[u8; 8]>,
    start: Start,
    server: Option<Server>,
    version: Version,
    route: Option<Box<str>>,
    error: Option<&'static str>,
}

/// The result of a request.
pub(super) struct Ended<'a> {
    pub(super) component: Option<Arc<str>>,
    pub(super) method: &'a Method,
    pub(super) scheme: Scheme,
    pub(super) path: &'a str,
    pub(super) request_id: &'a HeaderValue,
    /// The status of the response. `None`: the client left before there was a response.
    pub(super) status: Option<StatusCode>,
    /// Whether the host has handed the whole response to the client's connection.
    pub(super) complete: bool,
    /// How the response cache took part.
    pub(super) cached: Option<&'static str>,
}

struct RequestDetails {
    method: Method,
    scheme: Scheme,
    path: Box<str>,
    route: Option<Box<str>>,
    server: Option<Server>,
    version: Version,
    request_id: Box<str>,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    complete: bool,
    cached: Option<&'static str>,
}

impl ServerSpan {
    /// Continues the client's trace, or begins a new one. `route` returns the manifest's route, and is called only
    /// if the span is sampled.
    pub(super) fn begin<B>(
        tracer: &Arc<Tracer>,
        request: &Request<B>,
        route: impl FnOnce() -> Option<String>,
    ) -> Self {
        let parent = tracer.propagates().then(|| Origin::extract(request.headers())).flatten();
        let origin = tracer.identify(parent.as_ref());
        let sampled = origin.is_sampled();
        Self {
            tracer: tracer.clone(),
            origin: Arc::new(origin),
            parent: parent.map(|parent| parent.span_id()),
            start: Start::now(),
            server: if sampled { server(request) } else { None },
            version: request.version(),
            route: if sampled { route().map(Into::into) } else { None },
            error: None,
        }
    }

    /// Returns the trace id for log lines.
    pub(super) fn trace_id(&self) -> Box<str> {
        self.origin.trace_id()
    }

    /// Returns the parent of the component's outbound requests.
    pub(super) fn origin(&self) -> Arc<Origin> {
        self.origin.clone()
    }

    /// Writes this span's id to the request's headers, so that the component's spans become its children.
    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        if self.tracer.propagates() {
            self.origin.inject(headers);
        }
    }

    /// Sets the reason why the response is missing or incomplete.
    pub(super) fn set_error(&mut self, kind: &'static str) {
        self.error = Some(kind);
    }

    /// Ends the span, and queues it for the exporter if it is sampled.
    pub(super) fn end(mut self, ended: &Ended<'_>) {
        if self.origin.is_sampled() {
            let details = Box::new(self.details(ended));
            let Self { tracer, origin, parent, start, .. } = self;
            let origin = Arc::unwrap_or_clone(origin);
            tracer.keep(Span::new(origin, parent, ended.component.clone(), start, details));
        }
    }

    fn details(&mut self, ended: &Ended<'_>) -> RequestDetails {
        RequestDetails {
            method: bounded_method(ended.method),
            scheme: ended.scheme.clone(),
            path: bounded(ended.path, PATH_BYTES).into(),
            route: self.route.take(),
            server: self.server.take(),
            version: self.version,
            request_id: ended.request_id.to_str().unwrap_or_default().into(),
            status: ended.status,
            error: self.error,
            complete: ended.complete,
            cached: ended.cached,
        }
    }
}

/// Returns the server that the request names.
fn server<B>(request: &Request<B>) -> Option<Server> {
    match request.uri().authority() {
        Some(authority) => Some(Server::of(authority)),
        None => {
            let host = request.headers().get(header::HOST)?;
            Authority::try_from(host.as_bytes()).ok().map(|authority| Server::of(&authority))
        }
    }
}

/// Attributes by OpenTelemetry's stable conventions for HTTP
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).
impl SpanDetails for RequestDetails {
    fn describe(&self, attributes: &mut Attributes) -> SpanSummary {
        attributes.method(&self.method);
        attributes.text("url.scheme", self.scheme.as_str());
        attributes.text("url.path", &*self.path);
        if let Some(route) = &self.route {
            attributes.text("http.route", &**route);
        }
        attributes.server(self.server.as_ref());
        attributes.version(self.version);
        attributes.text("wasi_http_host.request_id", &*self.request_id);
        let status = self.status.map(|status| status.as_u16());
        if let Some(status) = status {
            attributes.number("http.response.status_code", status.into());
        }
        if !self.complete {
            attributes.flag("wasi_http_host.aborted", true);
        }
        if let Some(cached) = self.cached {
            attributes.text("wasi_http_host.response_cache", cached);
        }
        let error = match (self.error, status) {
            (Some(error), _) => Some(Cow::from(error)),
            (None, Some(status @ 500..)) => Some(Cow::from(status.to_string())),
            (None, _) => None,
        };
        let is_error = error.is_some();
        if let Some(error) = error {
            attributes.text("error.type", error);
        }
        let method = Attributes::known_method(&self.method).unwrap_or("HTTP");
        let name = self.route.as_ref().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        SpanSummary { name, kind: SpanKind::Server, is_error }
    }
}

#[cfg(test)]
mod tests;
