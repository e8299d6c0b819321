//! Opens connections: name resolution, the policy's check of each address, TCP, proxies and TLS.

use super::places::{Place, Share};
use super::shared::Outbound;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper::rt;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;
use wasi_http_host_egress::MAX_ADDRESSES;
use wasi_http_host_egress::{Host, Identity, InvalidTarget, Target};
use wasi_http_host_egress::{Policy, Prohibited};

/// Delay before an attempt with the next address (RFC 8305, 5: Connection Attempt Delay).
const HEAD_START: Duration = Duration::from_millis(250);

type BoxError = Box<dyn StdError + Send + Sync>;
type Connecting<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

/// The reason why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Invalid(#[from] InvalidTarget),
    #[error(transparent)]
    Prohibited(#[from] Prohibited),
    #[error("the name lookup timed out")]
    DnsTimeout,
    #[error("the name lookup failed: {0}")]
    Dns(io::Error),
    #[error("connecting timed out")]
    Timeout,
    #[error("connecting failed: {0}")]
    Tcp(io::Error),
    #[error("TLS failed: {0}")]
    Tls(BoxError),
    #[error("the proxy failed: {0}")]
    Proxy(BoxError),
}

/// Opens connections under one policy and with one identity. The pool calls this when it has no idle connection.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) transport: Arc<Transport>,
    /// What TLS shows and trusts. `None`: no certificate, and the authorities of the process.
    pub(super) identity: Option<Arc<Identity>>,
}

pub(super) struct Transport {
    pub(super) outbound: Arc<Outbound>,
    pub(super) policy: Arc<Policy>,
    /// The component's share of the places for connections.
    pub(super) share: Arc<Share>,
}

impl Service<http::Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = ConnectError;
    type Future = Connecting<Self::Response, ConnectError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let Self { transport, identity } = self.clone();
        Box::pin(async move {
            // All steps share one deadline. The error names the step that was running at the deadline.
            let deadline = Instant::now() + transport.outbound.limits().connect;
            let connected = timeout_at(deadline, transport.connect(uri, identity, deadline)).await;
            connected.unwrap_or(Err(ConnectError::Timeout))
        })
    }
}

/// A connector that calls a function, for the layers of TLS and of proxies.
#[derive(Clone)]
struct ConnectWith<F>(F);

impl<F, C> Service<http::Uri> for ConnectWith<F>
where
    F: Fn(http::Uri) -> C,
    C: Future<Output = Result<Stream, ConnectError>>,
{
    type Response = Stream;
    type Error = ConnectError;
    type Future = C;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> C {
        (self.0)(uri)
    }
}

impl Transport {
    async fn connect(
        self: Arc<Self>,
        uri: http::Uri,
        identity: Option<Arc<Identity>>,
        deadline: Instant,
    ) -> Result<MaybeHttpsStream<Stream>, ConnectError> {
        if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
            return self.plain(uri, deadline).await.map(MaybeHttpsStream::Http);
        }
        let tls = self.outbound.tls();
        let config = match &identity {
            Some(identity) => tls.config_of(identity).await,
            None => tls.config().await,
        };
        let config = config.map_err(|e| ConnectError::Tls(e.into()))?;
        let plain = ConnectWith(move |uri| Arc::clone(&self).plain(uri, deadline));
        let connected = HttpsConnector::from((plain, config)).call(uri).await;
        connected.map_err(|error| match error.downcast() {
            Ok(ours) => *ours,
            Err(tls) => ConnectError::Tls(tls),
        })
    }

    /// Opens the connection below TLS, directly or through a proxy.
    async fn plain(self: Arc<Self>, uri: http::Uri, deadline: Instant) -> Result<Stream, ConnectError> {
        let Some(proxy) = self.outbound.proxies().of(&uri) else {
            let target = Target::of(&uri)?;
            let addresses = self.permitted(&target, deadline).await?;
            return self.open(addresses).await;
        };
        if uri.scheme() == Some(&http::uri::Scheme::HTTPS) {
            let to_proxy = ConnectWith(move |proxy| Arc::clone(&self).to_proxy(proxy, deadline));
            let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            return tunnel.call(uri).await.map_err(|e| ConnectError::Proxy(e.into()));
        }
        let connected = self.to_proxy(proxy.uri().clone(), deadline).await;
        let stream = connected.map_err(|e| ConnectError::Proxy(e.into()))?;
        Ok(Stream { forwarded: true, ..stream })
    }

    /// Opens a connection to a proxy. The policy does not apply, because the operator has configured the proxy.
    async fn to_proxy(self: Arc<Self>, proxy: http::Uri, deadline: Instant) -> Result<Stream, ConnectError> {
        let target = Target::of(&proxy)?;
        let addresses = self.resolve(&target, deadline).await?;
        self.open(addresses).await
    }

    /// Returns the target's addresses that the policy permits. A host with a public and a private address is
    /// reached at the public address. See `docs/decisions/0027-public-addresses-of-a-mixed-name-are-used.md`.
    async fn permitted(&self, target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut permitted = Vec::new();
        let mut refused = None;
        for address in self.resolve(target, deadline).await? {
            match self.policy.permits(target, address.ip()) {
                Ok(()) => permitted.push(address),
                Err(prohibited) => refused = refused.or(Some(prohibited)),
            }
        }
        match refused {
            Some(prohibited) if permitted.is_empty() => Err(prohibited.into()),
            _ => Ok(permitted),
        }
    }

    /// Waits for a place for another open connection, and connects.
    async fn open(&self, addresses: Vec<SocketAddr>) -> Result<Stream, ConnectError> {
        let place = self.outbound.places().take(&self.share).await;
        Stream::open(addresses, place).await
    }

    async fn resolve(&self, target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        let name = match &target.host {
            Host::Ip(address) => return Ok(vec![(*address, target.port).into()]),
            Host::Name(name) => name,
        };
        let look_up = self.outbound.resolver().resolve(name, target.port);
        let found = timeout_at(deadline, look_up).await;
        let mut addresses = found.map_err(|_| ConnectError::DnsTimeout)?.map_err(ConnectError::Dns)?;
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return Err(ConnectError::Dns(io::Error::new(io::ErrorKind::NotFound, "no address")));
        }
        Ok(addresses)
    }
}

/// A TCP connection with its place.
pub(super) struct Stream {
    io: TokioIo<TcpStream>,
    /// The connection leads to a proxy that forwards requests. Such requests have their URLs in absolute form.
    forwarded: bool,
    /// The place is free when the connection is dropped.
    place: Place,
}

impl Stream {
    /// Connects to the address that answers first. Each attempt starts [`HEAD_START`] after the attempt before it,
    /// or when an attempt fails (RFC 8305, 5).
    async fn open(addresses: Vec<SocketAddr>, place: Place) -> Result<Self, ConnectError> {
        let mut waiting = alternate(addresses).into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(TcpStream::connect(address));
            }
            if attempts.is_empty() {
                return Err(ConnectError::Tcp(failure));
            }
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(stream) => {
                        // Ignore an error: without `TCP_NODELAY` a request is only slower.
                        let _ = stream.set_nodelay(true);
                        return Ok(Self { io: TokioIo::new(stream), forwarded: false, place });
                    }
                    Err(error) => failure = error,
                },
                () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
            }
        }
    }
}

/// Orders the addresses so that the two families alternate, in the resolver's order. If one family is unreachable,
/// this costs one delay only (RFC 8305, 4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.forwarded).extra(self.place.opened())
    }
}

impl rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        // The end of the stream. The pool gives no request to a connection whose server has closed it.
        if read.is_pending() && self.place.connection.must_close(cx.waker()) {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"];
        let order = alternate(addresses.iter().map(|a| a.parse().unwrap()).collect());
        let order: Vec<String> = order.iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(alternate(Vec::new()), Vec::new());
    }
}
