//! One client's connection with HTTP/1.1 or HTTP/2. Without TLS, the first bytes tell the protocol (h2c with prior
//! knowledge). With TLS, the client chooses the protocol by ALPN.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::watch};

use super::{
    buffers::{CONNECTION_WINDOW, STREAM_WINDOW, WRITE_BUFFER, http1_buffer},
    client::Client,
    io::{Activity, TimedStream},
    limits::StreamTimeouts,
    protocol::{self, Protocol},
    serve,
    stream::Stream,
    streams::Streams,
    tls::ClientCertificate,
    worker::{Accepted, Worker},
};

/// Maximum number of concurrent streams on an HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Interval of HTTP/2 pings. A client that does not answer a ping in time has left.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Serves the connection until the client or the host closes it.
pub(super) async fn serve(worker: Arc<Worker>, accepted: Accepted) {
    let Accepted { stream, permit } = accepted;
    let close_idle = worker.shared.close_idle.subscribe();
    let result = match prepare(stream) {
        Ok((stream, peer)) => run(&worker, stream, peer, close_idle.clone()).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = result {
        worker.shared.metrics.errors.inc();
        tracing::debug!(%error, "a connection ended with an error");
    }
    worker.connections.dec();
    // Held until here: the listener and the shutdown wait for these to be dropped.
    drop((permit, close_idle));
}

fn prepare(stream: std::net::TcpStream) -> std::io::Result<(TcpStream, Client)> {
    stream.set_nonblocking(true)?;
    // The host writes whole responses, so Nagle's algorithm would only delay them.
    stream.set_nodelay(true)?;
    let peer = Client::new(stream.peer_addr()?);
    Ok((TcpStream::from_std(stream)?, peer))
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn run(
    worker: &Arc<Worker>,
    stream: TcpStream,
    peer: Client,
    close_idle: watch::Receiver<bool>,
) -> Result<(), AnyError> {
    let limits = &worker.shared.limits;
    let changes = close_idle.clone();
    // If the sender is dropped, the process ends.
    let unchanged = || matches!(changes.has_changed(), Ok(false));
    let mut closing = pin!(closing(close_idle));
    let opened = tokio::select! {
        biased;
        opened = open(worker, stream) => opened?,
        () = closing.as_mut() => None,
    };
    // The client has sent no request, so it waits for no response.
    let Some(Opened { stream, protocol, prefix, certificate }) = opened else { return Ok(()) };
    let peer = Arc::new(peer.with_certificate(certificate));
    let activity = Arc::new(Activity::default());
    let service = service_fn({
        let (worker, activity) = (worker.clone(), activity.clone());
        move |request| {
            let (worker, activity, peer) = (worker.clone(), activity.clone(), peer.clone());
            async move { Ok::<_, Infallible>(serve::serve(worker, activity, peer, request).await) }
        }
    });
    match protocol {
        Protocol::Http1 => {
            let io = TokioIo::new(TimedStream::new(stream, prefix, activity, limits.timeouts));
            let connection = http1::Builder::new()
                .max_header_size(limits.max_header_bytes)
                .max_buf_size(http1_buffer(limits.max_header_bytes))
                .serve_connection(io, service);
            drive(connection, http1::Connection::graceful_shutdown, closing, unchanged).await?;
        }
        Protocol::Http2 => {
            // Between HTTP/2 frames, the beginning of a head and a ping look the same, so the idle timeout applies.
            let timeouts = StreamTimeouts { head: limits.timeouts.idle, ..limits.timeouts };
            let io = TokioIo::new(TimedStream::new(stream, prefix, activity.clone(), timeouts));
            let connection =
                http2::Builder::new(Streams { total: limits.exchange, idle: limits.timeouts.write })
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(MAX_STREAMS)
                    .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
                    .max_send_buf_size(WRITE_BUFFER)
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PONG_WITHIN)
                    .serve_connection(io, service);
            tokio::select! {
                biased;
                driven = drive(connection, http2::Connection::graceful_shutdown, closing, unchanged) => driven?,
                () = activity.flooded() => return Err("the client reset too many requests".into()),
            }
        }
    }
    Ok(())
}

/// A connection on which the client has sent something.
struct Opened {
    stream: Stream,
    protocol: Protocol,
    /// The bytes that were read to detect the protocol.
    prefix: Bytes,
    certificate: Option<Arc<ClientCertificate>>,
}

/// Makes the TLS handshake, or detects the protocol. `None`: the client has sent no request.
async fn open(worker: &Worker, mut stream: TcpStream) -> std::io::Result<Option<Opened>> {
    if let Some(tls) = &worker.shared.tls {
        // Boxed, so that connections without TLS do not need the memory.
        let accepted = Box::pin(tls.accept(stream)).await?;
        return Ok(accepted.map(|accepted| Opened {
            stream: Stream::Tls(Box::new(accepted.stream)),
            protocol: accepted.protocol,
            prefix: Bytes::new(),
            certificate: accepted.certificate,
        }));
    }
    let timeouts = worker.shared.limits.timeouts;
    let detected = protocol::detect(&mut stream, timeouts.head, timeouts.idle).await;
    Ok(detected.map(|(protocol, prefix)| Opened {
        stream: Stream::Plain(stream),
        protocol,
        prefix,
        certificate: None,
    }))
}

/// Runs a connection to its end. When `closing` resolves, the connection finishes its requests in flight and
/// accepts no more. `unchanged` tells cheaply that `closing` does not resolve now.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    mut closing: Pin<&mut impl Future<Output = ()>>,
    unchanged: impl Fn() -> bool,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let (mut asked, mut watched) = (false, false);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            // A connection stays in one task, so the waker of the first poll is that of all polls.
            if asked || watched && unchanged() {
                return Poll::Pending;
            }
            watched = true;
            if closing.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            asked = true;
            graceful_shutdown(connection.as_mut());
        }
    })
    .await
}

/// Resolves when connections without a request must close.
async fn closing(mut close_idle: watch::Receiver<bool>) {
    // If the sender is dropped, the process ends.
    let _ = close_idle.wait_for(|close_idle| *close_idle).await;
}
