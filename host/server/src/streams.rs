//! Timeouts of the streams of HTTP/2 connections. A stream ends when its request and response take too long, or
//! when its client takes nothing for too long.
//!
//! A client that does not open a stream's window stalls only that stream. No timeout of the connection notices
//! this, and hyper does not even poll the body.

use std::{cell::Cell, future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::time::{Instant, sleep};

tokio::task_local! {
    static STREAM: Progress;
}

/// The progress of a stream's response.
#[derive(Default)]
struct Progress {
    /// Number of pieces that the connection has taken. The number may wrap.
    taken: Cell<u32>,
    /// Whether the connection waits until the client's window has room for the next piece.
    waiting: Cell<bool>,
    /// Whether the stream was dropped because its client took nothing for too long.
    given_up: Cell<bool>,
}

impl Progress {
    /// Returns the number of pieces taken, while the connection waits for the client. `None`: it does not wait for
    /// the client.
    fn stalled_at(&self) -> Option<u32> {
        self.waiting.get().then(|| self.taken.get())
    }
}

/// Records that the connection has taken a piece of the current stream's response, and now waits for the client.
pub(super) fn piece_taken() {
    // Outside an HTTP/2 stream there is nothing to record.
    let _ = STREAM.try_with(|progress| {
        progress.taken.set(progress.taken.get().wrapping_add(1));
        progress.waiting.set(true);
    });
}

/// Records that the connection asks for the next piece, so that it no longer waits for the client.
pub(super) fn piece_requested() {
    let _ = STREAM.try_with(|progress| progress.waiting.set(false));
}

/// Whether the current stream is dropped because its client took nothing for too long.
pub(super) fn is_given_up() -> bool {
    STREAM.try_with(|progress| progress.given_up.get()).unwrap_or_default()
}

/// Runs the streams of a connection, each as a task with timeouts.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    /// Timeout for a request with its response.
    pub(super) total: Duration,
    /// Timeout for a client to take the next piece.
    pub(super) idle: Duration,
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(STREAM.scope(Progress::default(), self.watch(stream)));
    }
}

impl Streams {
    /// Runs a stream, and drops it when a timeout ends.
    async fn watch<F: Future>(self, stream: F) {
        let deadline = Instant::now() + self.total;
        let mut stream = pin!(stream);
        // One timer for the stream's life. Progress is checked when the timer fires, so a piece sets no timer.
        let mut timer = pin!(sleep(self.total.min(self.idle)));
        let mut seen = None;
        poll_fn(|cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            while timer.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                let stalled_at = STREAM.with(Progress::stalled_at);
                // No progress since the last check. The timeout is late by at most one period and never early.
                if now >= deadline || stalled_at.is_some() && stalled_at == seen {
                    STREAM.with(|progress| progress.given_up.set(stalled_at.is_some()));
                    return Poll::Ready(());
                }
                seen = stalled_at;
                timer.as_mut().reset(deadline.min(now + self.idle));
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LIMITS: Streams = Streams { total: Duration::from_secs(300), idle: Duration::from_secs(30) };

    async fn lasts(stream: impl Future) -> Duration {
        let begun = Instant::now();
        STREAM.scope(Progress::default(), LIMITS.watch(stream)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_client_takes_nothing_ends() {
        let shut = lasts(async {
            piece_taken();
            pending::<()>().await;
        });
        let shut = shut.await;
        assert!(shut >= LIMITS.idle && shut <= 2 * LIMITS.idle, "{shut:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_with_a_stream_knows_why_it_ends() {
        struct Held(std::rc::Rc<Cell<Option<bool>>>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.set(Some(is_given_up()));
            }
        }
        let seen = std::rc::Rc::default();
        for (waits_for_client, is_ever_over) in [(true, false), (false, false), (true, true)] {
            let held = Held(std::rc::Rc::clone(&seen));
            lasts(async move {
                let _held = held;
                piece_taken();
                if !waits_for_client {
                    piece_requested();
                }
                if !is_ever_over {
                    pending::<()>().await;
                }
            })
            .await;
            assert_eq!(seen.take(), Some(waits_for_client && !is_ever_over));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_client_takes_a_piece_now_and_then_does_not() {
        let slow = lasts(async {
            for _ in 0..8 {
                piece_taken();
                sleep(Duration::from_secs(29)).await;
                piece_requested();
            }
        });
        assert_eq!(slow.await, Duration::from_secs(8 * 29));
    }

    #[tokio::test(start_paused = true)]
    async fn the_components_own_pauses_are_not_the_clients() {
        let pausing = lasts(async {
            piece_taken();
            piece_requested();
            pending::<()>().await;
        });
        assert_eq!(pausing.await, LIMITS.total);
    }
}
