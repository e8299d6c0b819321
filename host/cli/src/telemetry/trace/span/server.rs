//! A request's span.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header,
    uri::{Authority, Scheme},
};

use super::{Origin, PATH_BYTES, RequestDetails, Server, Span, Start, Tracer, What, kept};
use crate::telemetry::bounded;

/// A request's span, sampled or not.
pub(crate) struct ServerSpan {
    tracer: Arc<Tracer>,
    origin: Arc<Origin>,
    parent: Option<[u8; 8]>,
    start: Start,
    server: Option<Server>,
    version: Version,
    route: Option<Box<str>>,
    error: Option<&'static str>,
}

/// What a request came to.
pub(crate) struct Ended<'a> {
    pub(crate) component: Option<Arc<str>>,
    pub(crate) method: &'a Method,
    pub(crate) scheme: Scheme,
    pub(crate) path: &'a str,
    pub(crate) request_id: &'a HeaderValue,
    /// `None` when the client left before there was one.
    pub(crate) status: Option<StatusCode>,
    /// The whole response was handed to the client's connection.
    pub(crate) complete: bool,
}

impl ServerSpan {
    /// Continues the trace that the client sends, or begins one. The manifest's route is asked for only if it is sampled.
    pub(crate) fn begin<B>(
        tracer: &Arc<Tracer>,
        request: &Request<B>,
        route: impl FnOnce() -> Option<String>,
    ) -> Self {
        let parent = tracer.propagate.then(|| Origin::extract(request.headers())).flatten();
        let origin = tracer.identify(parent.as_ref());
        let sampled = origin.context.sampled;
        Self {
            tracer: tracer.clone(),
            origin: Arc::new(origin),
            parent: parent.map(|parent| parent.context.span),
            start: Start::now(),
            server: if sampled { server(request) } else { None },
            version: request.version(),
            route: if sampled { route().map(Into::into) } else { None },
            error: None,
        }
    }

    /// For the log.
    pub(crate) fn trace_id(&self) -> Box<str> {
        self.origin.context.trace_id()
    }

    /// What the component's own calls are children of.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        self.origin.clone()
    }

    /// Shows the component this span as its parent.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        if self.tracer.propagate {
            self.origin.inject(headers);
        }
    }

    /// Why there is no answer, or not all of it.
    pub(crate) fn set_error(&mut self, kind: &'static str) {
        self.error = Some(kind);
    }

    /// Keeps the span, if it is sampled.
    pub(crate) fn end(self, ended: Ended<'_>) {
        if !self.origin.context.sampled {
            return;
        }
        let Ended { component, method, scheme, path, request_id, status, complete } = ended;
        let Self { tracer, origin, parent, start, server, version, route, error } = self;
        let what = What::Request(Box::new(RequestDetails {
            method: kept(method),
            scheme,
            path: bounded(path, PATH_BYTES).into(),
            route,
            server,
            version,
            request_id: request_id.to_str().unwrap_or_default().into(),
            status,
            error,
            complete,
        }));
        let duration = start.moment.elapsed();
        let origin = Arc::unwrap_or_clone(origin);
        tracer.keep(Span { origin, parent, component, start: start.time, duration, what });
    }
}

/// What the client takes this host for.
fn server<B>(request: &Request<B>) -> Option<Server> {
    match request.uri().authority() {
        Some(authority) => Some(Server::of(authority)),
        None => {
            let host = request.headers().get(header::HOST)?;
            Authority::try_from(host.as_bytes()).ok().map(|authority| Server::of(&authority))
        }
    }
}
