use super::Client;
use crate::chain::{self, Chain};
use crate::telemetry::trace::{Calls, ClientSpan};
use http::HeaderName;
use std::fmt;
use std::sync::{Arc, LazyLock};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

type SentRequest =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// The way of a guest's outbound requests, for the instance's store data: all of them go through its [`Client`].
#[derive(Clone)]
pub struct Hooks {
    client: Client,
    /// Where the component may ask others of its application.
    chain: Option<Chain>,
    calls: Option<Arc<Calls>>,
}

impl Hooks {
    /// Hooks that send with `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, chain: None, calls: None }
    }

    /// The same, with a way to other components of the application.
    pub(crate) fn chained(self, chain: Option<Chain>) -> Self {
        Self { chain, ..self }
    }

    /// The same, telling traces of each request.
    pub(crate) fn traced(self, calls: Option<Arc<Calls>>) -> Self {
        Self { calls, ..self }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("client", &self.client).finish_non_exhaustive()
    }
}

static FILTER: LazyLock<ForbiddenHeaderFilter> = LazyLock::new(|| Arc::new(is_forbidden));

/// As [`DEFAULT_FORBIDDEN_HEADERS`], asked for every header of every request and response in both directions:
/// nearly all leave at the comparison of lengths.
pub(super) fn is_forbidden(name: &HeaderName) -> bool {
    matches!(name.as_str().len(), 4 | 7 | 10 | 14 | 16..=19) && DEFAULT_FORBIDDEN_HEADERS.contains(name)
}

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::clone(&FILTER)
    }

    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = SentRequest> + Send> {
        let begun = self.calls.as_ref().map(|calls| ClientSpan::begin(calls, &mut request));
        let (origin, mut span) = begun.map_or((None, None), |(origin, span)| (Some(origin), span));
        if let Some(chain) = &self.chain
            && chain::component(request.uri()).is_some()
        {
            let response = chain.begin(request, options.unwrap_or_default(), origin);
            return Box::new(async move {
                let response = response.await;
                if let Some(span) = &mut span {
                    span.set_chained(response.as_ref().map_err(|failure| failure.outcome));
                }
                let sent: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
                Ok((response.map_err(|failure| failure.error)?, sent))
            });
        }
        let client = self.client.clone();
        Box::new(async move {
            let response = client.send_traced(request, options.unwrap_or_default(), span).await?;
            // A request body that fails shows in the response, which is all that there is to report.
            let sent: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, sent))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_filter_forbids_what_the_list_does() {
        for name in &DEFAULT_FORBIDDEN_HEADERS {
            assert!(is_forbidden(name), "{name}");
        }
        for name in ["accept", "content-type", "date", "trailer", "x-forwarded-for", "user-agent"] {
            assert!(!is_forbidden(&HeaderName::from_static(name)), "{name}");
        }
    }
}
