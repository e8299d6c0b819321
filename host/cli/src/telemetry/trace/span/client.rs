//! The span of an outbound request.

use std::sync::Arc;

use http::{Method, Request, StatusCode, Uri, Version};

use super::{Calls, FetchDetails, NAME_BYTES, Origin, PATH_BYTES, Server, Span, Start, Tracer, What, kept};
use crate::{outbound::Outcome, telemetry::bounded};

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
    pub(crate) fn set_chained<B>(&mut self, response: Result<&http::Response<B>, Outcome>) {
        match response {
            Ok(response) => {
                self.set_head(response.status(), response.version());
                self.set_outcome(Outcome::of(response.status()));
            }
            Err(outcome) => self.set_outcome(outcome),
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
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        // `host` and `port` leave user information out.
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
            method: kept(method),
            url: format!("{scheme}://{shown_host}{shown_port}{path}").into(),
            server,
            status: None,
            version: None,
            outcome: Outcome::Abandoned,
        }
    }
}
