//! Sends a guest's outbound requests, either to other components of the application or through the outbound client.
//! There is no third path (`docs/decisions/0008-no-default-send-request.md`).

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use http::{HeaderName, Uri};
use wasi_http_host_egress::COMPONENTS;
use wasi_http_host_outbound::{Client, ClientSpan, Failure, is_forbidden, on_interim};
use wasi_http_host_telemetry::trace::Origin;
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use super::{
    cause::{self, Cause, Causes},
    host_bytes::{InFlightBytes, REQUEST_CHUNK, RESPONSE_CHUNK},
    interim,
    traced::TracedTasks,
};

type SentRequest =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;
/// The pending response of another component.
type Answering = Pin<Box<dyn Future<Output = Result<http::Response<WasiBody>, Failure>> + Send>>;

/// A request from one component to another component of the same application.
pub struct ChainedRequest {
    /// The name of the called component, from `http://NAME.spin.internal`.
    pub component: String,
    /// The request.
    pub request: http::Request<WasiBody>,
    /// The caller's timeouts.
    pub options: RequestOptions,
    /// The request that causes this request. `None` if the host cannot tell.
    pub cause: Option<Arc<Cause>>,
    /// The request's parent in a trace. `None` if tracing is off.
    pub origin: Option<Arc<Origin>>,
}

/// The other components of an application, as one component can call them.
pub trait Siblings: Send + Sync {
    /// Sends one request. The caller runs on the thread that serves the calling component.
    fn send(&self, request: ChainedRequest) -> Answering;
}

/// The state behind an instance's outbound requests.
pub(crate) struct Hooks {
    pub(crate) client: Client,
    /// Sends requests to other components. `None` if the component may not.
    pub(crate) siblings: Option<Arc<dyn Siblings>>,
    /// Finds the request that causes an outbound request.
    pub(crate) causes: Arc<Causes>,
    pub(crate) traced: Option<Arc<TracedTasks>>,
    pub(crate) in_flight: InFlightBytes,
    /// Whether the next body is that of the instance's own response.
    pub(crate) response_chunks: bool,
}

static FILTER: LazyLock<ForbiddenHeaderFilter> = LazyLock::new(|| Arc::new(is_forbidden));

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::clone(&FILTER)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        REQUEST_CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        if self.response_chunks { RESPONSE_CHUNK } else { REQUEST_CHUNK }
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = SentRequest> + Send> {
        let in_flight = self.in_flight.clone();
        let mut request = in_flight.count(request);
        let begun = self.traced.as_ref().map(|traced| {
            ClientSpan::begin(&traced.tracer, &traced.component, traced.sender(), &mut request)
        });
        let (origin, mut span) = begun.map_or((None, None), |(origin, span)| (Some(origin), span));
        let options = options.unwrap_or_default();
        let cause = self.causes.sender();
        if let Some(siblings) = &self.siblings
            && let Some(component) = component(request.uri()).map(str::to_owned)
        {
            cause::keep_mark(request.headers_mut(), cause.as_deref());
            let response = siblings.send(ChainedRequest { component, request, options, cause, origin });
            return Box::new(async move {
                let response = response.await;
                if let Some(span) = &mut span {
                    span.set_chained(response.as_ref().map_err(|failure| failure.outcome));
                }
                let sent: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
                Ok((in_flight.count_response(response.map_err(|failure| failure.error)?), sent))
            });
        }
        let relay = cause.as_ref().and_then(|cause| cause.interim.as_ref());
        if let Some(receiver) = relay.and_then(|relay| relay.of_forwarded(&request)) {
            on_interim(&mut request, move |response| interim::relay(&receiver, response));
        }
        cause::mark(request.headers_mut(), cause.as_deref());
        let client = self.client.clone();
        Box::new(async move {
            let response = client.send_traced(request, options, span).await?;
            // If sending the request body fails, the response shows the error. There is nothing more to report.
            let sent: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((in_flight.count_response(response), sent))
        })
    }
}

/// The component that `uri` names. `None` if `uri` names another host.
fn component(uri: &Uri) -> Option<&str> {
    let host = uri.host()?;
    let at = host.len().checked_sub(COMPONENTS.len())?;
    let (id, suffix) = host.split_at_checked(at)?;
    suffix.eq_ignore_ascii_case(COMPONENTS).then_some(id)
}

/// Whether `host` is in the domain of components, also with the dot of a fully qualified name. Only a component may send
/// a request for such a host.
#[must_use]
pub fn names_component(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let domain = COMPONENTS.trim_start_matches('.');
    let at = host.len().saturating_sub(domain.len());
    host.split_at_checked(at).is_some_and(|(before, end)| {
        end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_told_from_a_host() {
        let of = |uri: &'static str| component(&Uri::from_static(uri)).map(str::to_owned);
        assert_eq!(of("http://back.spin.internal/path"), Some("back".to_owned()));
        assert_eq!(of("http://back.SPIN.internal:80/"), Some("back".to_owned()));
        for other in ["http://spin.internal/", "http://back.spin.internal.example/", "/path", "http://x/"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_domain_of_components_is_recognised_in_each_spelling() {
        for host in [
            "back.spin.internal",
            "BACK.Spin.Internal",
            "back.spin.internal.",
            "a.b.spin.internal",
            "spin.internal",
        ] {
            assert!(names_component(host), "{host}");
        }
        for host in ["", "internal", "notspin.internal", "back.spin.internal.example", "é.internal", "[::1]"]
        {
            assert!(!names_component(host), "{host}");
        }
    }
}
