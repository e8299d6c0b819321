//! Spans while they last, and what is kept of them.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header, uri::Scheme};
use wasmtime::StoreContextMut;

use super::{Calls, Origin, Tracer};
use crate::{
    keyvalue::{Access, Operation},
    outbound::Outcome,
    telemetry::bounded,
};

/// Bytes of a path, and of other texts that clients and guests choose.
const TEXT_BYTES: usize = 1024;

/// A span that is over.
pub(super) struct Span {
    pub(super) origin: Origin,
    /// Its parent's identity; none where a trace begins.
    pub(super) parent: Option<[u8; 8]>,
    /// None where a request has no route.
    pub(super) component: Option<Arc<str>>,
    pub(super) start: SystemTime,
    pub(super) duration: Duration,
    pub(super) what: What,
}

/// What a span is about.
pub(super) enum What {
    Request(Box<RequestDetails>),
    Fetch(Box<FetchDetails>),
    KeyValue(KeyValueDetails),
}

pub(super) struct RequestDetails {
    pub(super) method: Method,
    pub(super) scheme: Scheme,
    pub(super) path: Box<str>,
    pub(super) route: Option<Box<str>>,
    pub(super) host: Option<HeaderValue>,
    pub(super) version: Version,
    pub(super) request_id: HeaderValue,
    pub(super) status: Option<StatusCode>,
    pub(super) error: Option<&'static str>,
    pub(super) complete: bool,
}

pub(super) struct FetchDetails {
    pub(super) method: Method,
    /// Without user information and query.
    pub(super) url: Box<str>,
    pub(super) host: Box<str>,
    pub(super) port: Option<u16>,
    pub(super) status: Option<StatusCode>,
    pub(super) version: Option<Version>,
    pub(super) outcome: Outcome,
}

pub(super) struct KeyValueDetails {
    pub(super) operation: Operation,
    pub(super) access: Access,
    /// Which of its stores.
    pub(super) bucket: u32,
    /// A remote store was not asked, for its answer was known here.
    pub(super) known: bool,
    pub(super) failed: bool,
}

/// When a recorded span began.
#[derive(Clone, Copy)]
struct Start {
    /// For people.
    time: SystemTime,
    /// To measure by.
    moment: Instant,
}

impl Start {
    fn now() -> Self {
        Self { time: SystemTime::now(), moment: Instant::now() }
    }
}

/// A request's span, sampled or not.
pub(crate) struct ServerSpan {
    tracer: Arc<Tracer>,
    origin: Arc<Origin>,
    parent: Option<[u8; 8]>,
    start: Start,
    host: Option<HeaderValue>,
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
        let route = if origin.context.sampled { route().map(Into::into) } else { None };
        let host = match request.uri().authority() {
            Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
            None => request.headers().get(header::HOST).cloned(),
        };
        Self {
            tracer: tracer.clone(),
            origin: Arc::new(origin),
            parent: parent.map(|parent| parent.context.span),
            start: Start::now(),
            host,
            version: request.version(),
            route,
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
        let Self { tracer, origin, parent, start, host, version, route, error } = self;
        let what = What::Request(Box::new(RequestDetails {
            method: method.clone(),
            scheme,
            path: bounded(path, TEXT_BYTES).into(),
            route,
            host,
            version,
            request_id: request_id.clone(),
            status,
            error,
            complete,
        }));
        let duration = start.moment.elapsed();
        let origin = Arc::unwrap_or_clone(origin);
        tracer.keep(Span { origin, parent, component, start: start.time, duration, what });
    }
}

/// An outbound request that is sampled; it is kept when it is dropped.
pub(crate) struct ClientSpan {
    tracer: Arc<Tracer>,
    origin: Origin,
    parent: Option<[u8; 8]>,
    component: Arc<str>,
    start: Start,
    /// Taken when it is kept.
    details: Option<FetchDetails>,
}

impl ClientSpan {
    /// Begins one for `request`, which tells its receiver of it. There is an identity also where it is not sampled.
    ///
    /// What the component says of its parent counts where it continues the trace of the request that it is serving: then it
    /// makes spans of its own. Anything else is replaced, for it would tear the trace apart; it is believed where nobody
    /// knows which request is being served.
    pub(crate) fn begin<B>(calls: &Calls, request: &mut Request<B>) -> (Arc<Origin>, Option<Box<Self>>) {
        let tracer = &calls.tracer;
        let said = tracer.propagate.then(|| Origin::extract(request.headers())).flatten();
        let parent = match (calls.sender(), said) {
            (Some(known), Some(mut said)) if said.context.trace == known.context.trace => {
                said.context.sampled = known.context.sampled;
                Some(said)
            }
            (Some(known), _) => Some(Arc::unwrap_or_clone(known)),
            (None, said) => said,
        };
        let origin = match &parent {
            // The request's own decision, once it is made.
            Some(parent) => Origin { context: parent.context.child(), state: parent.state.clone() },
            None => tracer.identify(None),
        };
        if tracer.propagate {
            origin.inject(request.headers_mut());
        }
        let span = origin.context.sampled.then(|| {
            Box::new(Self {
                tracer: tracer.clone(),
                origin: origin.clone(),
                parent: parent.map(|parent| parent.context.span),
                component: calls.component.clone(),
                start: Start::now(),
                details: Some(FetchDetails::of(request.method(), request.uri())),
            })
        });
        (Arc::new(origin), span)
    }

    /// Another component of the application has answered, or not.
    pub(crate) fn set_chained<B>(&mut self, response: Option<&http::Response<B>>) {
        match response {
            Some(response) => {
                self.set_head(response.status(), response.version());
                self.set_outcome(Outcome::of(response.status()));
            }
            None => self.set_outcome(Outcome::Protocol),
        }
    }

    /// The head of the response has come.
    pub(crate) fn set_head(&mut self, status: StatusCode, version: Version) {
        if let Some(details) = &mut self.details {
            details.status = Some(status);
            details.version = Some(version);
        }
    }

    /// How it ended.
    pub(crate) fn set_outcome(&mut self, outcome: Outcome) {
        if let Some(details) = &mut self.details {
            details.outcome = outcome;
        }
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        let Some(details) = self.details.take() else { return };
        self.tracer.keep(Span {
            origin: self.origin.clone(),
            parent: self.parent,
            component: Some(self.component.clone()),
            start: self.start.time,
            duration: self.start.moment.elapsed(),
            what: What::Fetch(Box::new(details)),
        });
    }
}

impl FetchDetails {
    fn of(method: &Method, uri: &Uri) -> Self {
        // `host` and `port` leave user information out.
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        let port = uri.port_u16();
        let shown_port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("{scheme}://{host}{shown_port}{}", uri.path());
        Self {
            method: method.clone(),
            url: bounded(&url, TEXT_BYTES).into(),
            host: bounded(host.trim_matches(['[', ']']), TEXT_BYTES).into(),
            port: port.or(match scheme {
                "http" => Some(80),
                "https" => Some(443),
                _ => None,
            }),
            status: None,
            version: None,
            outcome: Outcome::Abandoned,
        }
    }
}

/// An operation on a key-value store that is sampled; it is kept when it is dropped.
pub(crate) struct KeyValueSpan {
    calls: Arc<Calls>,
    parent: Arc<Origin>,
    start: Start,
    details: Option<KeyValueDetails>,
}

impl KeyValueSpan {
    /// Begins one for the task that is calling. `None` where its request is not sampled, or not known.
    pub(crate) fn begin<T>(
        calls: &Arc<Calls>,
        store: StoreContextMut<'_, T>,
        operation: Operation,
        access: Access,
        bucket: u32,
    ) -> Option<Self> {
        let parent = calls.caller(store).filter(|origin| origin.context.sampled)?;
        let details = Some(KeyValueDetails { operation, access, bucket, known: false, failed: false });
        Some(Self { calls: calls.clone(), parent, start: Start::now(), details })
    }

    /// What a remote store would say was known.
    pub(crate) fn set_known(&mut self) {
        if let Some(details) = &mut self.details {
            details.known = true;
        }
    }

    /// It came to nothing.
    pub(crate) fn set_failed(&mut self) {
        if let Some(details) = &mut self.details {
            details.failed = true;
        }
    }
}

impl Drop for KeyValueSpan {
    fn drop(&mut self) {
        let Some(details) = self.details.take() else { return };
        let Origin { context, state } = &*self.parent;
        self.calls.tracer.keep(Span {
            origin: Origin { context: context.child(), state: state.clone() },
            parent: Some(context.span),
            component: Some(self.calls.component.clone()),
            start: self.start.time,
            duration: self.start.moment.elapsed(),
            what: What::KeyValue(details),
        });
    }
}
