//! Admission of requests: how many are in flight at the same time, how many may wait, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{ComponentMetrics, Rejection};

/// The permits of one component in the whole process, and the queue for them.
pub struct Admission {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    queue_timeout: Duration,
    metrics: Arc<ComponentMetrics>,
}

/// Lets one request be in flight. The response and the call in the instance share the permit. It is returned when
/// both have ended.
#[derive(Clone)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Arc<OwnedSemaphorePermit>);

impl Admission {
    /// Admits `permits` requests at the same time. At most `max_waiting` others may wait, each for at most
    /// `queue_timeout`.
    #[must_use]
    pub fn new(
        permits: usize,
        max_waiting: usize,
        queue_timeout: Duration,
        metrics: Arc<ComponentMetrics>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { permits, waiting: AtomicUsize::new(0), max_waiting, queue_timeout, metrics }
    }

    /// Takes a permit immediately, or waits for one. Requests that wait are admitted in their order of arrival.
    ///
    /// # Errors
    /// The queue is full, or no permit became free within the queue timeout.
    pub async fn admit(&self) -> Result<Permit, Rejection> {
        // Requests that wait arrived earlier, so a free permit belongs to the first of them.
        if self.waiting.load(Ordering::Acquire) == 0
            && let Ok(permit) = self.permits.clone().try_acquire_owned()
        {
            return Ok(Permit(Arc::new(permit)));
        }
        let _waiting = Waiting::new(self).ok_or(Rejection::QueueFull)?;
        match timeout(self.queue_timeout, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit(Arc::new(permit))),
            // Nobody closes the semaphore. If it were closed, no request could be admitted any more.
            Ok(Err(_)) | Err(_) => Err(Rejection::QueueTimeout),
        }
    }
}

/// A slot in the queue. Dropping it frees the slot, also when the client cancels the request.
struct Waiting<'a>(&'a Admission);

impl<'a> Waiting<'a> {
    fn new(admission: &'a Admission) -> Option<Self> {
        let entered = admission.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < admission.max_waiting).then_some(waiting + 1)
        });
        entered.ok()?;
        admission.metrics.queued.inc();
        Some(Self(admission))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.queued.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn admission(permits: usize, waiting: usize) -> Admission {
        Admission::new(permits, waiting, Duration::from_secs(5), ComponentMetrics::new("test"))
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_places_and_queue_there_is_no_waiting() {
        let admission = admission(1, 1);
        let first = admission.admit().await.ok().unwrap();
        let mut second = Box::pin(admission.admit());
        assert!(second.as_mut().now_or_never().is_none(), "waits");
        assert_eq!(admission.admit().now_or_never().unwrap().err(), Some(Rejection::QueueFull));
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so_and_leaves_the_queue() {
        let admission = admission(1, 1);
        let first = admission.admit().await.ok().unwrap();
        assert_eq!(admission.admit().await.err(), Some(Rejection::QueueTimeout));
        drop(first);
        assert!(admission.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_queue() {
        let admission = admission(1, 1);
        let first = admission.admit().await.ok().unwrap();
        let mut second = Box::pin(admission.admit());
        assert!(second.as_mut().now_or_never().is_none());
        drop(second);
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
        drop(first);
        assert!(admission.admit().now_or_never().unwrap().is_ok());
    }
}
