//! The streams of HTTP/2 connections: none lasts for longer than a request and its response may, and none stands
//! still for longer than its client may.
//!
//! A client that takes nothing off a stream, by a window that it leaves shut, stalls that one only: no limit on the
//! connection notices, and the body is not even asked for more.

use std::{cell::Cell, future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::time::{Instant, sleep};

tokio::task_local! {
    static STREAM: Progress;
}

/// How far a stream's response is.
#[derive(Default)]
struct Progress {
    /// Pieces that the connection has taken; it may wrap.
    taken: Cell<u32>,
    /// The connection asks for the next when the client has room.
    waiting: Cell<bool>,
    /// Its client was waited for in vain.
    given_up: Cell<bool>,
}

impl Progress {
    /// `None` as long as it is not the client that is waited for.
    fn standing(&self) -> Option<u32> {
        self.waiting.get().then(|| self.taken.get())
    }
}

/// The connection has a piece of the response of the stream that runs here, and the client's turn begins.
pub(super) fn taken() {
    // Elsewhere there is no stream to watch.
    let _ = STREAM.try_with(|progress| {
        progress.taken.set(progress.taken.get().wrapping_add(1));
        progress.waiting.set(true);
    });
}

/// It asks for the next: the client's turn is over.
pub(super) fn asked() {
    let _ = STREAM.try_with(|progress| progress.waiting.set(false));
}

/// Whether the stream that runs here is dropped because its client took nothing for too long.
pub(super) fn is_given_up() -> bool {
    STREAM.try_with(|progress| progress.given_up.get()).unwrap_or_default()
}

/// Runs the streams of a connection.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    /// For a request and its response.
    pub(super) total: Duration,
    /// For a client to take the next piece of it.
    pub(super) idle: Duration,
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(STREAM.scope(Progress::default(), self.watch(stream)));
    }
}

impl Streams {
    /// Runs a stream, and drops it when it takes too long.
    async fn watch<F: Future>(self, stream: F) {
        let deadline = Instant::now() + self.total;
        let mut stream = pin!(stream);
        // One timer, looked at when it fires: none is set for a single piece.
        let mut timer = pin!(sleep(self.total.min(self.idle)));
        let mut seen = None;
        poll_fn(|cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            while timer.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                let standing = STREAM.with(Progress::standing);
                // As it stood at the last look: late by a period, never early.
                if now >= deadline || standing.is_some() && standing == seen {
                    STREAM.with(|progress| progress.given_up.set(standing.is_some()));
                    return Poll::Ready(());
                }
                seen = standing;
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
            taken();
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
                taken();
                if !waits_for_client {
                    asked();
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
                taken();
                sleep(Duration::from_secs(29)).await;
                asked();
            }
        });
        assert_eq!(slow.await, Duration::from_secs(8 * 29));
    }

    #[tokio::test(start_paused = true)]
    async fn the_components_own_pauses_are_not_the_clients() {
        let pausing = lasts(async {
            taken();
            asked();
            pending::<()>().await;
        });
        assert_eq!(pausing.await, LIMITS.total);
    }
}
