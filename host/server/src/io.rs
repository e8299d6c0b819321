//! A client's stream with limits of time: a head must arrive, an idle connection must end, and what is written
//! must be read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{limits::Patience, stream::Stream};

/// What a connection's stream and its requests know of each other.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that are being served.
    requests: AtomicU32,
    /// Requests that were begun, ever; it may wrap.
    begun: AtomicU32,
    /// Something was read since the last of them ended: a head has begun.
    head_begun: AtomicBool,
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
}

pub(super) struct TimedStream {
    stream: Stream,
    /// Read ahead to tell the protocol.
    prefix: Bytes,
    activity: Arc<Activity>,
    patience: Patience,
    /// One timer for the connection's life, looked at when it fires: none is set for a single request.
    reading: Option<Pin<Box<Sleep>>>,
    /// Where the connection stood when the timer was last looked at.
    seen: Seen,
    writing: Option<Pin<Box<Sleep>>>,
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
    pub(super) fn new(stream: Stream, prefix: Bytes, activity: Arc<Activity>, patience: Patience) -> Self {
        activity.head_begun.store(!prefix.is_empty(), Relaxed);
        let state = if prefix.is_empty() { State::Idle } else { State::Head };
        let seen = Seen { state, begun: 0, since: Instant::now() };
        Self { stream, prefix, activity, patience, reading: None, seen, writing: None }
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

    /// Nothing can be read: whether that has gone on for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let shortest = self.patience.head.min(self.patience.idle);
        loop {
            let timer = self.reading.get_or_insert_with(|| Box::pin(sleep(shortest)));
            std::task::ready!(timer.as_mut().poll(cx));
            let (now, state) = (Instant::now(), self.state());
            // A state that began since the last look counts from this one: late by a period, never early. Idle twice is not idle all
            // the while where there was a request between.
            let begun = self.activity.begun.load(Relaxed);
            if state != self.seen.state || begun != self.seen.begun {
                self.seen = Seen { state, begun, since: now };
            }
            let limit = match state {
                State::Busy => {
                    self.seen.since = now;
                    shortest
                }
                State::Head => self.patience.head,
                State::Idle => self.patience.idle,
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

    /// Counts the time that a write stands still.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let patience = self.patience.write;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(patience)));
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
            Poll::Pending => self.poll_patience(cx).map(Err),
        }
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Under TLS this is where records leave that were only written down before.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
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

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    /// The two ends of a connection, and what the served one's requests are told by.
    async fn pair() -> (TimedStream, TcpStream, Arc<Activity>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Arc::new(Activity::default());
        (TimedStream::new(Stream::Plain(stream), Bytes::new(), activity.clone(), PATIENCE), client, activity)
    }

    #[tokio::test]
    async fn a_connection_that_is_used_is_never_idle_for_long() {
        let (mut stream, client, activity) = pair().await;
        time::pause();
        let reading = tokio::spawn(async move { stream.read_u8().await });
        // Whenever the timer looks, no request is there.
        for _ in 0..100 {
            sleep(Duration::from_secs(3)).await;
            activity.begin();
            activity.end();
        }
        assert!(!reading.is_finished());
        let unused = Instant::now();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        // A look is at most the shorter limit late.
        let idle = unused.elapsed();
        assert!(idle >= PATIENCE.idle && idle <= PATIENCE.idle + PATIENCE.head, "{idle:?}");
        drop(client);
    }

    #[tokio::test]
    async fn a_connection_with_a_request_is_not_idle() {
        let (mut stream, client, activity) = pair().await;
        time::pause();
        activity.begin();
        let reading = tokio::spawn(async move { stream.read_u8().await });
        sleep(PATIENCE.idle * 3).await;
        assert!(!reading.is_finished());
        activity.end();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
