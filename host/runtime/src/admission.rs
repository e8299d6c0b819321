//! How many requests are served at once, how many may wait, and for how long.

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

/// The places of a process.
pub struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
    metrics: Arc<ComponentMetrics>,
}

/// A place; given back when dropped.
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    /// `places` requests at once, and `max_waiting` others that wait for `patience` at most.
    #[must_use]
    pub fn new(
        places: usize,
        max_waiting: usize,
        patience: Duration,
        metrics: Arc<ComponentMetrics>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self { places, waiting: AtomicUsize::new(0), max_waiting, patience, metrics }
    }

    /// Takes a place at once, or waits for one in the order of arrival.
    ///
    /// # Errors
    /// When too many wait already, or none becomes free in time.
    pub async fn admit(&self) -> Result<Permit, Rejection> {
        // Whoever waits was here before: a free place is theirs.
        if self.waiting.load(Ordering::Acquire) == 0
            && let Ok(permit) = self.places.clone().try_acquire_owned()
        {
            return Ok(Permit(permit));
        }
        let _waiting = Waiting::new(self).ok_or(Rejection::QueueFull)?;
        match timeout(self.patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit(permit)),
            // The semaphore is never closed; were it, nobody would be admitted any more.
            Ok(Err(_)) | Err(_) => Err(Rejection::QueueTimeout),
        }
    }
}

/// A place in the queue; left when dropped, by whatever way.
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

    fn admission(places: usize, waiting: usize) -> Admission {
        Admission::new(places, waiting, Duration::from_secs(5), ComponentMetrics::new("test"))
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
