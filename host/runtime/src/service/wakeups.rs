//! The wake-ups of an instance's event loop.
//!
//! One poll of the event loop runs the guest and polls what the guest has woken, until nothing is left to do. Such a
//! wake-up must not make the thread poll the whole event loop again. So wake-ups within a poll are only noted, and the
//! task is woken at the end of the poll if one came after the event loop had begun its last round.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use wasi_http_host_core::lock;

/// What the event loop and its wakers share. Wakers may be used on any thread.
pub(super) struct Wakeups {
    inner: Arc<Inner>,
    waker: Waker,
}

struct Inner {
    /// The waker of the instance's task.
    task: Mutex<Waker>,
    /// Whether the event loop is being polled.
    polling: AtomicBool,
    /// Whether there was a wake-up that the event loop may not have seen.
    unseen: AtomicBool,
}

impl Default for Wakeups {
    fn default() -> Self {
        let inner = Arc::new(Inner {
            task: Mutex::new(Waker::noop().clone()),
            polling: AtomicBool::new(false),
            unseen: AtomicBool::new(false),
        });
        Self { waker: inner.clone().into(), inner }
    }
}

impl Wakeups {
    /// Polls the event loop in the task of `cx`.
    pub(super) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        event_loop: impl FnOnce(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        // No other thread takes this lock while it is held for long: a waker only wakes the task.
        let mut task = lock(&self.inner.task);
        if !task.will_wake(cx.waker()) {
            task.clone_from(cx.waker());
        }
        drop(task);
        self.inner.polling.store(true, SeqCst);
        let result = event_loop(&mut Context::from_waker(&self.waker));
        // In the opposite order to `wake_by_ref`, so that at least one of the two sees the other.
        self.inner.polling.store(false, SeqCst);
        if self.inner.unseen.swap(false, SeqCst) && result.is_pending() {
            cx.waker().wake_by_ref();
        }
        result
    }

    /// The event loop begins a round, in which it polls all that was woken before.
    pub(super) fn begin_round(&self) {
        self.inner.unseen.store(false, SeqCst);
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unseen.store(true, SeqCst);
        if !self.polling.load(SeqCst) {
            let task = lock(&self.task).clone();
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Polls once, and returns how often the task was woken in the poll.
    fn woken_by(wakeups: &Wakeups, event_loop: impl FnOnce(&mut Context<'_>) -> Poll<()>) -> usize {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let _ = wakeups.poll(&mut Context::from_waker(&waker), event_loop);
        woken.0.load(SeqCst)
    }

    #[test]
    fn a_wake_up_that_the_same_poll_sees_wakes_nobody() {
        let woken = woken_by(&Wakeups::default(), |_| Poll::Pending);
        assert_eq!(woken, 0);
        let wakeups = Wakeups::default();
        let woken = woken_by(&wakeups, |cx| {
            cx.waker().wake_by_ref();
            wakeups.begin_round();
            Poll::Pending
        });
        assert_eq!(woken, 0);
    }

    #[test]
    fn a_wake_up_after_the_last_round_began_wakes_the_task() {
        let wakeups = Wakeups::default();
        let woken = woken_by(&wakeups, |cx| {
            wakeups.begin_round();
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(woken, 1);
        assert_eq!(woken_by(&wakeups, |_| Poll::Pending), 0, "each wake-up counts once");
    }

    #[test]
    fn a_wake_up_between_polls_wakes_the_task_of_the_last_poll() {
        let (wakeups, woken) = (Wakeups::default(), Arc::<Woken>::default());
        let task = Waker::from(woken.clone());
        let mut kept = None;
        let _ = wakeups.poll(&mut Context::from_waker(&task), |cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert_eq!(woken.0.load(SeqCst), 0);
        kept.unwrap().wake();
        assert_eq!(woken.0.load(SeqCst), 1);
    }
}
