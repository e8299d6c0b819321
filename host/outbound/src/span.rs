//! The span of an outbound request.

use std::{borrow::Cow, sync::Arc};

use http::{Method, Request, Response, StatusCode, Uri, Version};
use wasi_http_host_core::bounded;
use wasi_http_host_telemetry::trace::{
    Attributes, NAME_BYTES, Origin, PATH_BYTES, Server, Span, SpanDetails, SpanKind, SpanSummary, Start,
    Tracer, bounded_method,
};

use super::Outcome;

/// The span of a sampled outbound request. Dropping the span ends it and queues it for the exporter.
pub struct ClientSpan {
    tracer: Arc<Tracer>,
    origin: Origin,
    parent: Option<[u8; 8]>,
    component: Arc<str>,
    start: Start,
    /// `None` only while the span is dropped.
    details: Option<Box<FetchDetails>>,
}

struct FetchDetails {
    method: Method,
    /// The URL without user information and query.
    url: Box<str>,
    server: Option<Server>,
    status: Option<StatusCode>,
    version: Option<Version>,
    outcome: Outcome,
}

impl ClientSpan {
    /// Begins a span for `request` and writes its identity to the request's headers. `cause` is the span of the
    /// request that `component` is serving, if the host knows which. Returns the identity, and the span if the
    /// trace is sampled.
    ///
    /// A component may make spans of its own. If the `traceparent` that the component sends continues the trace of
    /// `cause`, it is the parent. Another `traceparent` is replaced, because it would split the trace. Without a
    /// `cause`, the component's `traceparent` is the parent.
    pub fn begin<B>(
        tracer: &Arc<Tracer>,
        component: &Arc<str>,
        cause: Option<Arc<Origin>>,
        request: &mut Request<B>,
    ) -> (Arc<Origin>, Option<Box<Self>>) {
        let said = tracer.propagates().then(|| Origin::extract(request.headers())).flatten();
        let parent = match (cause, said) {
            (Some(known), Some(said)) => {
                Some(said.continuing(&known).unwrap_or_else(|| Arc::unwrap_or_clone(known)))
            }
            (Some(known), None) => Some(Arc::unwrap_or_clone(known)),
            (None, said) => said,
        };
        // A parent's sampling decision applies. Without a parent, the sampler decides.
        let origin = parent.as_ref().map_or_else(|| tracer.identify(None), Origin::child);
        if tracer.propagates() {
            origin.inject(request.headers_mut());
        }
        let span = origin.is_sampled().then(|| {
            Box::new(Self {
                tracer: tracer.clone(),
                origin: origin.clone(),
                parent: parent.map(|parent| parent.span_id()),
                component: component.clone(),
                start: Start::now(),
                details: Some(Box::new(FetchDetails::of(request.method(), request.uri()))),
            })
        });
        (Arc::new(origin), span)
    }

    /// Records the response of another component of the application, or the outcome of the failure.
    pub fn set_chained<B>(&mut self, response: Result<&Response<B>, Outcome>) {
        match response {
            Ok(response) => {
                self.set_head(response.status(), response.version());
                self.set_outcome(Outcome::of(response.status()));
            }
            Err(outcome) => self.set_outcome(outcome),
        }
    }

    /// Records the head of the response.
    pub fn set_head(&mut self, status: StatusCode, version: Version) {
        if let Some(details) = &mut self.details {
            details.status = Some(status);
            details.version = Some(version);
        }
    }

    /// Records the outcome of the request.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        if let Some(details) = &mut self.details {
            details.outcome = outcome;
        }
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        let Some(details) = self.details.take() else { return };
        let component = Some(self.component.clone());
        self.tracer.keep(Span::new(self.origin.clone(), self.parent, component, self.start, details));
    }
}

impl FetchDetails {
    fn of(method: &Method, uri: &Uri) -> Self {
        // `Uri::host` and `Uri::port` leave out user information.
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        let shown_port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let (shown_host, path) = (bounded(host, NAME_BYTES), bounded(uri.path(), PATH_BYTES));
        let server = uri.authority().map(|authority| {
            let Server { address, port } = Server::of(authority);
            let port = port.or(match scheme {
                "http" => Some(80),
                "https" => Some(443),
                _ => None,
            });
            Server { address, port }
        });
        Self {
            method: bounded_method(method),
            url: format!("{scheme}://{shown_host}{shown_port}{path}").into(),
            server,
            status: None,
            version: None,
            outcome: Outcome::Abandoned,
        }
    }
}

impl SpanDetails for FetchDetails {
    fn describe(&self, attributes: &mut Attributes) -> SpanSummary {
        attributes.method(&self.method);
        attributes.text("url.full", &*self.url);
        attributes.server(self.server.as_ref());
        if let Some(version) = self.version {
            attributes.version(version);
        }
        let status = self.status.map(|status| status.as_u16());
        if let Some(status) = status {
            attributes.number("http.response.status_code", status.into());
        }
        let error = match (self.outcome, status) {
            (Outcome::Success | Outcome::Redirection, _) => None,
            (Outcome::ClientError | Outcome::ServerError, Some(status)) => {
                Some(Cow::from(status.to_string()))
            }
            (outcome, _) => Some(Cow::from(outcome.as_str())),
        };
        let is_error = error.is_some();
        if let Some(error) = error {
            attributes.text("error.type", error);
        }
        let name = Attributes::known_method(&self.method).unwrap_or("HTTP").to_owned();
        SpanSummary { name, kind: SpanKind::Client, is_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_choose_is_cut() {
        let long = "x".repeat(5_000);
        let method = Method::from_bytes(long.as_bytes()).unwrap();
        let uri = format!("http://user:hush@{long}:8080/{long}?hush").parse().unwrap();
        let fetch = FetchDetails::of(&method, &uri);
        let Server { address, port } = fetch.server.unwrap();
        assert_eq!((address.len(), port), (NAME_BYTES, Some(8080)));
        assert_eq!(fetch.method, bounded_method(&method));
        assert_eq!(fetch.url.len(), "http://:8080".len() + NAME_BYTES + PATH_BYTES);
        assert!(!fetch.url.contains("hush"));
    }
}
