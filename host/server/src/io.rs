//! A client's stream with timeouts: for a request's head, for an idle connection, and for a client that does not
//! read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep, sleep},
};
use wasi_http_host_core::lock;

use super::{interim::Interims, limits::StreamTimeouts, resets::ResetBudget, stream::Stream};

/// State that a connection's stream shares with the connection's requests.
#[derive(Debug)]
pub(super) struct Activity {
    /// Number of requests in flight.
    requests: AtomicU32,
    /// Number of requests begun so far. The number may wrap.
    begun: AtomicU32,
    /// Whether data was read since the last request ended, which means that a head has begun.
    head_begun: AtomicBool,
    resets: Mutex<ResetBudget>,
    /// Notified when the client has reset too many requests.
    flooded: Notify,
    /// Interim responses to the request in flight.
    pub(super) interims: Interims,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            requests: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            head_begun: AtomicBool::new(false),
            resets: Mutex::new(ResetBudget::new(std::time::Instant::now())),
            flooded: Notify::new(),
            interims: Interims::default(),
        }
    }
}

impl Activity {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.head_begun.store(false, Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }

    /// A request that has ended had no response, because the client has reset it or has left.
    pub(super) fn abandoned(&self) {
        let over = self.begun.load(Relaxed).wrapping_sub(self.requests.load(Relaxed));
        if lock(&self.resets).is_exceeded(over, std::time::Instant::now()) {
            self.flooded.notify_one();
        }
    }

    /// Resolves when the client has reset too many requests.
    pub(super) async fn flooded(&self) {
        self.flooded.notified().await;
    }
}

/// A client's stream. A read or write fails when its timeout ends.
pub(super) struct TimedStream {
    stream: Stream,
    /// Bytes that were read to detect the protocol. Reads return them first.
    prefix: Bytes,
    activity: Arc<Activity>,
    timeouts: StreamTimeouts,
    /// One timer for all reads of the connection. The deadline is checked when the timer fires, so a request sets
    /// no timer.
    reading: Option<Pin<Box<Sleep>>>,
    /// The connection's state when the timer last fired.
    seen: Seen,
    writing: Option<Pin<Box<Sleep>>>,
    /// Whether all bytes of earlier messages are written. hyper flushes only when it has handed over all that it has.
    at_boundary: bool,
    /// The rest of an interim response that is written in part.
    interim: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    Head,
    Idle,
}

struct Seen {
    state: State,
    begun: u32,
    since: Instant,
}

impl TimedStream {
    pub(super) fn new(
        stream: Stream,
        prefix: Bytes,
        activity: Arc<Activity>,
        timeouts: StreamTimeouts,
    ) -> Self {
        activity.head_begun.store(!prefix.is_empty(), Relaxed);
        let state = if prefix.is_empty() { State::Idle } else { State::Head };
        let seen = Seen { state, begun: 0, since: Instant::now() };
        Self {
            stream,
            prefix,
            activity,
            timeouts,
            reading: None,
            seen,
            writing: None,
            at_boundary: true,
            interim: Bytes::new(),
        }
    }

    fn state(&self) -> State {
        if self.activity.requests.load(Relaxed) != 0 {
            State::Busy
        } else if self.activity.head_begun.load(Relaxed) {
            State::Head
        } else {
            State::Idle
        }
    }

    /// Checks the timeout of a read that is pending.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let shortest = self.timeouts.head.min(self.timeouts.idle);
        loop {
            let timer = self.reading.get_or_insert_with(|| Box::pin(sleep(shortest)));
            std::task::ready!(timer.as_mut().poll(cx));
            let (now, state) = (Instant::now(), self.state());
            // A state that began since the last check counts from this check, so a timeout is late by at most one
            // period and never early. If a request has run between two checks, the connection was not idle all the
            // time.
            let begun = self.activity.begun.load(Relaxed);
            if state != self.seen.state || begun != self.seen.begun {
                self.seen = Seen { state, begun, since: now };
            }
            let limit = match state {
                State::Busy => {
                    self.seen.since = now;
                    shortest
                }
                State::Head => self.timeouts.head,
                State::Idle => self.timeouts.idle,
            };
            let due = self.seen.since + limit;
            if state != State::Busy && due <= now {
                return Poll::Ready(timed_out("the client sent nothing for too long"));
            }
            let next = due.min(now + shortest);
            if let Some(timer) = &mut self.reading {
                timer.as_mut().reset(next);
            }
        }
    }

    /// Writes the interim responses that wait, if the connection is at a boundary between messages.
    fn poll_interims(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.at_boundary {
            if self.interim.is_empty() {
                let Some(next) = self.activity.interims.next() else { break };
                self.interim = next;
            }
            let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
            if self.interim.is_empty() {
                self.activity.interims.written();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Applies the write timeout to a pending write.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let limit = self.timeouts.write;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(timed_out("the client read nothing for too long")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let n = self.prefix.len().min(buf.remaining());
            buf.put_slice(self.prefix.get(..n).unwrap_or_default());
            self.prefix.advance(n);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.activity.head_begun.store(true, Relaxed);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_timeout(cx).map(Err),
        }
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.poll_interims(cx) {
            Poll::Ready(Ok(())) => {
                self.at_boundary = false;
                Pin::new(&mut self.stream).poll_write(cx, buf)
            }
            interim => interim.map_ok(|()| 0),
        };
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.poll_interims(cx) {
            Poll::Ready(Ok(())) => {
                self.at_boundary = false;
                Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
            }
            interim => interim.map_ok(|()| 0),
        };
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.at_boundary = true;
        let flushed = match self.poll_interims(cx) {
            // With TLS, a flush sends records that earlier writes only buffered.
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_flush(cx),
            interim => interim,
        };
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_write(cx, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
        time,
    };

    use super::*;
    use std::time::Duration;

    const TIMEOUTS: StreamTimeouts = StreamTimeouts {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    /// Returns the two ends of a connection, and the served end's activity.
    async fn pair() -> (TimedStream, TcpStream, Arc<Activity>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Arc::new(Activity::default());
        (TimedStream::new(Stream::Plain(stream), Bytes::new(), activity.clone(), TIMEOUTS), client, activity)
    }

    #[tokio::test]
    async fn a_connection_that_is_used_is_never_idle_for_long() {
        let (mut stream, client, activity) = pair().await;
        time::pause();
        let reading = tokio::spawn(async move { stream.read_u8().await });
        // No request is in flight whenever the timer fires.
        for _ in 0..100 {
            sleep(Duration::from_secs(3)).await;
            activity.begin();
            activity.end();
        }
        assert!(!reading.is_finished());
        let unused = Instant::now();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        // A check is late by at most the shorter timeout.
        let idle = unused.elapsed();
        assert!(idle >= TIMEOUTS.idle && idle <= TIMEOUTS.idle + TIMEOUTS.head, "{idle:?}");
        drop(client);
    }

    #[tokio::test]
    async fn a_connection_with_a_request_is_not_idle() {
        let (mut stream, client, activity) = pair().await;
        time::pause();
        activity.begin();
        let reading = tokio::spawn(async move { stream.read_u8().await });
        sleep(TIMEOUTS.idle * 3).await;
        assert!(!reading.is_finished());
        activity.end();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
