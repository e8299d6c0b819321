//! The client of one component: sends its outbound requests under its egress policy.

use super::body::{Exchange, OpenResponse, body_failed};
use super::error::{Causes, Failure};
use super::headers::{is_forbidden, remove_named_by_connection};
use super::places::{ConnectionHandle, InUse};
use super::shared::Outbound;
use super::span::ClientSpan;
use super::stats::{Outcome, Stats};
use super::transport::{Connector, Transport};
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wasi_http_host_core::{BodyLimits, BoundedError, Held, LimitedBody, bounded, lock};
use wasi_http_host_egress::{Allowed, Identity, Policy, Target};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// Interval of HTTP/2 pings on a connection in use, and timeout of their answers.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Maximum number of bytes that an HTTP/2 server may send and the component has not read: of one response's body, and
/// of all bodies of the connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;
/// Memory of a connection beside its buffers: the task, and the state and records of TLS.
const OTHER_BYTES: u64 = 128 << 10;

/// Bytes of a host's name in the log. A name of DNS is not longer.
const HOST_BYTES: usize = 253;

/// A pool of connections under one policy and with one identity.
type Pool = legacy::Client<Connector, WasiBody>;

/// The pools of the identities in use.
type IdentifiedPools = Vec<(Arc<Identity>, Pool)>;

/// Sends the outbound requests of one component. Each client has its own connection pools. Create one client on each
/// runtime and clone it there, because tasks of the runtime that opened a connection drive the connection.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    stats: Arc<Stats>,
    /// The connections without an identity.
    pool: Pool,
    /// The connections of each identity. A connection is never used with another identity, so when a file changes, the
    /// next request begins a new pool. Idle connections of the old pool are closed; requests in flight go on.
    identified: Arc<Mutex<IdentifiedPools>>,
}

/// The most bytes that a connection in use takes: the response's head, as it is read and as the component sees it, and
/// the body that arrives.
pub(super) fn most_connection_bytes(max_response_head: usize) -> u64 {
    2 * max_response_head as u64 + u64::from(CONNECTION_WINDOW) + OTHER_BYTES
}

impl Client {
    /// Creates a client with an empty pool. `stats` must belong to the same policy; several clients may share them.
    #[must_use]
    pub fn new(outbound: Arc<Outbound>, policy: Arc<Policy>, stats: Arc<Stats>) -> Self {
        let share = Arc::clone(stats.share(outbound.places()));
        let transport = Arc::new(Transport { outbound, policy, share });
        let pool = Self::new_pool(&transport, None);
        Self { transport, stats, pool, identified: Arc::default() }
    }

    fn new_pool(transport: &Arc<Transport>, identity: Option<Arc<Identity>>) -> Pool {
        let limits = transport.outbound.limits();
        legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .pool_max_idle_per_host(limits.max_idle_per_origin)
            .http1_max_buf_size(limits.max_response_head.max(8 << 10))
            .http2_max_header_list_size(u32::try_from(limits.max_response_head).unwrap_or(u32::MAX))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build(Connector { transport: Arc::clone(transport), identity })
    }

    /// Returns the pool of the connections that `target` may have now.
    fn pool(&self, target: &Target) -> Pool {
        let Some(identity) = self.transport.outbound.identities().of(target) else {
            return self.pool.clone();
        };
        let mut identified = lock(&self.identified);
        match identified.iter_mut().find(|(known, _)| known.has_same_patterns(&identity)) {
            Some((known, pool)) if Arc::ptr_eq(known, &identity) => pool.clone(),
            Some(outdated) => {
                *outdated = (identity.clone(), Self::new_pool(&self.transport, Some(identity)));
                outdated.1.clone()
            }
            None => {
                let pool = Self::new_pool(&self.transport, Some(identity.clone()));
                identified.push((identity, pool.clone()));
                pool
            }
        }
    }

    /// Sends `request` if the policy allows it. Returns the response with its head. The body arrives as it is read.
    ///
    /// # Errors
    /// When the policy denies the request, a limit is reached, or the exchange fails.
    pub async fn send(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<http::Response<WasiBody>, Error> {
        self.send_traced(request, options, None).await
    }

    /// Sends `request` like [`Client::send`] and records it in `span`. The span ends with the response's body.
    ///
    /// # Errors
    /// As for [`Client::send`].
    pub async fn send_traced(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
        mut span: Option<Box<ClientSpan>>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let result = self.exchange(request, options, &mut span).await;
        result.map_err(|failure| {
            if let Some(span) = &mut span {
                span.set_outcome(failure.outcome);
            }
            failure.error
        })
    }

    async fn exchange(
        &self,
        mut request: http::Request<WasiBody>,
        options: RequestOptions,
        span: &mut Option<Box<ClientSpan>>,
    ) -> Result<http::Response<WasiBody>, Failure> {
        let start = Instant::now();
        let limits = self.transport.outbound.limits();
        let allowed = self.allow(&mut request)?;
        let mut exchange = self.admit(&allowed).await?;
        exchange.span = span.take();
        let deadline = start + limits.total;
        let connect = shorter(limits.connect, options.connect_timeout);
        let first_byte = shorter(limits.first_byte, options.first_byte_timeout);

        let head = self.head(&allowed.target, request, connect, first_byte);
        let head = tokio::select! {
            head = head => head,
            () = sleep_until(deadline) => Err(Failure::new(Error::HttpResponseTimeout, Outcome::Timeout)),
        };
        let (response, in_use) = head.inspect_err(|failure| exchange.outcome = failure.outcome)?;
        exchange.in_use = in_use;
        exchange.outcome = Outcome::of(response.status());
        self.stats.head(allowed.entry, start.elapsed());
        if let Some(span) = &mut exchange.span {
            span.set_head(response.status(), response.version());
        }

        let (mut head, body) = response.into_parts();
        // These headers concern only the connection. The guest could only forward them by mistake. It does not see
        // `Connection`, which names some of them.
        remove_named_by_connection(&mut head.headers);
        let forbidden: Vec<_> = head.headers.keys().filter(|name| is_forbidden(name)).cloned().collect();
        forbidden.into_iter().for_each(|name| drop(head.headers.remove(name)));
        let limit = limits.max_response_body;
        let size = http_body::Body::size_hint(&body).lower();
        if size > limit {
            exchange.outcome = Outcome::Limit;
            return Err(Failure::new(Error::HttpResponseBodySize(Some(size)), Outcome::Limit));
        }
        let between_bytes = shorter(limits.between_bytes, options.between_bytes_timeout);
        let response: OpenResponse =
            Held::until(deadline, (body, exchange), |(_, exchange)| exchange.outcome = Outcome::Timeout);
        let limits = BodyLimits { size: Some(limit), idle: Some(between_bytes), deadline: Some(deadline) };
        let body = LimitedBody::new(response, limits, body_failed);
        Ok(http::Response::from_parts(head, body.boxed_unsync()))
    }

    /// Asks the policy whether the request is allowed, and rewrites its URL and `Host` to the form that the policy
    /// has checked.
    fn allow(&self, request: &mut http::Request<WasiBody>) -> Result<Allowed, Failure> {
        // The policy cannot check what a `CONNECT` tunnel carries. The response to `TRACE` could show the guest a
        // proxy's password.
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Failure::new(Error::HttpRequestMethodInvalid, Outcome::Denied));
        }
        let allowed = self.transport.policy.decide(request.uri()).map_err(|denied| {
            self.stats.count_denied();
            if let Some(left_out) = self.stats.log().admit() {
                tracing::warn!(reason = %BoundedError(&denied), left_out, "outbound request denied");
            }
            Failure::from(denied)
        })?;
        let invalid = |_| Failure::new(Error::HttpRequestUriInvalid, Outcome::Denied);
        let authority = allowed.target.authority();
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.authority = Some(authority.parse().map_err(|_| ()).map_err(invalid)?);
        *request.uri_mut() = http::Uri::from_parts(uri).map_err(|_| ()).map_err(invalid)?;
        let host = HeaderValue::try_from(authority).map_err(|_| ()).map_err(invalid)?;
        request.headers_mut().insert(header::HOST, host);
        *request.version_mut() = http::Version::HTTP_11;
        let proxy = self.transport.outbound.proxies().of(request.uri());
        if let Some(auth) = proxy.as_ref().and_then(|proxy| proxy.basic_auth())
            && request.uri().scheme() == Some(&http::uri::Scheme::HTTP)
        {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, auth.clone());
        }
        Ok(allowed)
    }

    /// Waits for a permit among the component's concurrent requests. Fails when the waiting list is full, or after
    /// the connect timeout.
    async fn admit(&self, allowed: &Allowed) -> Result<Exchange, Failure> {
        let limits = self.transport.outbound.limits();
        let permits = self.stats.permits(limits.max_concurrent, limits.max_waiting);
        let full = || {
            self.stats.begin();
            self.stats.end(allowed.entry, Outcome::Limit);
            Failure::new(Error::ConnectionLimitReached, Outcome::Limit)
        };
        let begin = |permit| {
            self.stats.begin();
            Exchange {
                stats: Arc::clone(&self.stats),
                entry: allowed.entry,
                outcome: Outcome::Abandoned,
                span: None,
                in_use: None,
                _permit: permit,
            }
        };
        if let Ok(permit) = Arc::clone(&permits.in_flight).try_acquire_owned() {
            return Ok(begin(permit));
        }
        let _waiting = permits.waiting.try_acquire().map_err(|_| full())?;
        let permit = timeout(limits.connect, Arc::clone(&permits.in_flight).acquire_owned()).await;
        permit.ok().and_then(Result::ok).map(begin).ok_or_else(full)
    }

    /// Sends the request and waits for the response's head. The connection and the first byte have separate
    /// timeouts.
    async fn head(
        &self,
        target: &Target,
        mut request: http::Request<WasiBody>,
        connect: Duration,
        first_byte: Duration,
    ) -> Result<(http::Response<Incoming>, Option<InUse>), Failure> {
        let uri = request.uri().clone();
        let mut connection = capture_connection(&mut request);
        let mut response = pin!(self.pool(target).request(request));
        let failed = |error: legacy::Error| {
            let failure = Failure::from(&error);
            if let Some(left_out) = self.stats.log().admit() {
                tracing::warn!(
                    scheme = uri.scheme_str(),
                    host = uri.host().map(|host| bounded(host, HOST_BYTES)),
                    port = uri.port_u16(),
                    error = %BoundedError(Causes(&error)),
                    outcome = failure.outcome.as_str(),
                    left_out,
                    "outbound request failed"
                );
            }
            failure
        };
        let response_first = tokio::select! {
            biased;
            response = &mut response => Some(response),
            _ = connection.wait_for_connection_metadata() => None,
            () = sleep(connect) => return Err(Failure::new(Error::ConnectionTimeout, Outcome::Timeout)),
        };
        let in_use = begin(&connection);
        let response = match response_first {
            Some(response) => response,
            None => timeout(first_byte, response)
                .await
                .map_err(|_| Failure::new(Error::ConnectionReadTimeout, Outcome::Timeout))?,
        };
        Ok((response.map_err(failed)?, in_use))
    }
}

/// Calls `note` with each interim response (1xx) to this request. A server that speaks HTTP/2 has none that the client sees.
pub fn on_interim<B>(
    request: &mut http::Request<B>,
    note: impl Fn(http::Response<()>) + Send + Sync + 'static,
) {
    hyper::ext::on_informational(request, move |response| {
        let mut interim = http::Response::new(());
        *interim.status_mut() = response.status();
        interim.headers_mut().clone_from(response.headers());
        note(interim);
    });
}

/// Notes that a request uses its connection. `None` if the request has no connection yet.
fn begin(connection: &CaptureConnection) -> Option<InUse> {
    let mut extras = http::Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extras);
    extras.remove::<ConnectionHandle>().map(ConnectionHandle::begin)
}

fn shorter(limit: Duration, asked: Option<Duration>) -> Duration {
    asked.map_or(limit, |asked| asked.min(limit))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("policy", &self.transport.policy).finish_non_exhaustive()
    }
}
