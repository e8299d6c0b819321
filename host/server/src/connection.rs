//! One client's connection: HTTP/1.1 or HTTP/2, told apart by its first bytes (h2c), or under TLS by what the
//! client chose.

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
    io::{Activity, TimedStream},
    limits::Patience,
    protocol::{self, Protocol},
    serve,
    stream::Stream,
    streams::Streams,
    worker::{Accepted, Worker},
};

/// Streams of an HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;
/// A peer that does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// The least that hyper's buffer may be limited to.
const LEAST_BUFFER: usize = 8 << 10;
/// Bytes of a response that may wait for the client, beyond those in the kernel.
const WRITE_BUFFER: usize = 128 << 10;

/// Serves until either side ends it.
pub(super) async fn serve(worker: Arc<Worker>, accepted: Accepted) {
    let Accepted { stream, place } = accepted;
    let hang_up = worker.shared.hang_up.subscribe();
    let result = match prepare(stream) {
        Ok(stream) => run(&worker, stream, hang_up.clone()).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = result {
        worker.shared.metrics.errors.inc();
        tracing::debug!(%error, "a connection broke");
    }
    worker.connections.dec();
    // Held until here: their end is what the listener and the shutdown wait for.
    drop((place, hang_up));
}

fn prepare(stream: std::net::TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    // Responses leave in whole: waiting for more to send only delays them.
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn run(
    worker: &Arc<Worker>,
    stream: TcpStream,
    hang_up: watch::Receiver<bool>,
) -> Result<(), AnyError> {
    let limits = &worker.shared.limits;
    let mut closing = pin!(closing(hang_up));
    let opened = tokio::select! {
        biased;
        opened = open(worker, stream) => opened?,
        () = closing.as_mut() => None,
    };
    // Nothing was asked, so nobody waits for an answer.
    let Some((stream, protocol, prefix)) = opened else { return Ok(()) };
    let activity = Arc::new(Activity::default());
    let service = service_fn({
        let (worker, activity) = (worker.clone(), activity.clone());
        move |request| {
            let (worker, activity) = (worker.clone(), activity.clone());
            async move { Ok::<_, Infallible>(serve::serve(worker, activity, request).await) }
        }
    });
    match protocol {
        Protocol::Http1 => {
            let io = TokioIo::new(TimedStream::new(stream, prefix, activity, limits.patience));
            let connection = http1::Builder::new()
                .max_header_size(limits.max_header_bytes)
                .max_buf_size(limits.max_header_bytes.max(WRITE_BUFFER).max(LEAST_BUFFER))
                .serve_connection(io, service);
            drive(connection, http1::Connection::graceful_shutdown, closing).await?;
        }
        Protocol::Http2 => {
            // Between frames of HTTP/2 there is no telling a head that begins from a ping.
            let patience = Patience { head: limits.patience.idle, ..limits.patience };
            let io = TokioIo::new(TimedStream::new(stream, prefix, activity, patience));
            let connection =
                http2::Builder::new(Streams { total: limits.exchange, idle: limits.patience.write })
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(MAX_STREAMS)
                    .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
                    .max_send_buf_size(WRITE_BUFFER)
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PONG_WITHIN)
                    .serve_connection(io, service);
            drive(connection, http2::Connection::graceful_shutdown, closing).await?;
        }
    }
    Ok(())
}

/// The stream as requests come on it, the protocol, and what was read to tell it. `None`: the client asked nothing.
async fn open(worker: &Worker, mut stream: TcpStream) -> std::io::Result<Option<(Stream, Protocol, Bytes)>> {
    if let Some(tls) = &worker.shared.tls {
        // In the heap, where only connections with TLS have it.
        let accepted = Box::pin(tls.accept(stream)).await?;
        return Ok(accepted.map(|(stream, protocol)| (Stream::Tls(Box::new(stream)), protocol, Bytes::new())));
    }
    let patience = worker.shared.limits.patience;
    let told = protocol::tell(&mut stream, patience.head, patience.idle).await;
    Ok(told.map(|(protocol, prefix)| (Stream::Plain(stream), protocol, prefix)))
}

/// Runs a connection to its end; `closing` lets it finish what it is at, and no more.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    mut closing: Pin<&mut impl Future<Output = ()>>,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut asked = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if asked || closing.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            asked = true;
            graceful_shutdown(connection.as_mut());
        }
    })
    .await
}

/// Resolves when connections without a request are to close.
async fn closing(mut hang_up: watch::Receiver<bool>) {
    // A sender that is gone is the process's end.
    let _ = hang_up.wait_for(|hang_up| *hang_up).await;
}
