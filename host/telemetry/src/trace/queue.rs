//! A bounded queue of spans that wait to be sent, and that the exporter takes in batches.

use std::{collections::VecDeque, sync::Mutex};

use tokio::{sync::Notify, time::sleep};

use super::settings::Batch;
use wasi_http_host_core::lock;

/// The threads that serve requests push items, and the exporter takes them. Each holds the lock only while it moves
/// items.
pub(super) struct Queue<T> {
    batch: Batch,
    items: Mutex<VecDeque<T>>,
    /// Notified when the number of items reaches the size of a batch.
    whole: Notify,
}

impl<T> Queue<T> {
    pub(super) fn new(batch: Batch) -> Self {
        Self { batch, items: Mutex::default(), whole: Notify::new() }
    }

    /// Adds an item. Returns false if the queue is full.
    pub(super) fn push(&self, item: T) -> bool {
        let mut items = lock(&self.items);
        if items.len() >= self.batch.queue {
            return false;
        }
        items.push_back(item);
        let whole = items.len() == self.batch.size;
        drop(items);
        if whole {
            self.whole.notify_one();
        }
        true
    }

    /// Moves the oldest items, at most one batch, to the end of `batch`.
    pub(super) fn take(&self, batch: &mut Vec<T>) {
        // Allocate before taking the lock.
        batch.reserve(self.batch.size);
        let mut items = lock(&self.items);
        let count = items.len().min(self.batch.size);
        batch.extend(items.drain(..count));
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.items).len()
    }

    /// Resolves when there are enough items for a batch, or after the delay in the settings.
    pub(super) async fn due(&self) {
        let whole = async {
            // The notification may be for items that have been taken since.
            while self.len() < self.batch.size {
                self.whole.notified().await;
            }
        };
        tokio::select! {
            () = whole => {}
            () = sleep(self.batch.delay) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const DELAY: Duration = Duration::from_secs(5);

    fn queue(filled: u32) -> Queue<u32> {
        let queue = Queue::new(Batch { delay: DELAY, limit: Duration::MAX, queue: 10, size: 4 });
        assert!((0..filled).all(|item| queue.push(item)));
        queue
    }

    fn taken(queue: &Queue<u32>) -> Vec<u32> {
        let mut batch = Vec::new();
        queue.take(&mut batch);
        batch
    }

    /// Returns how long `due` takes, by Tokio's paused clock.
    async fn wait(queue: &Queue<u32>) -> Duration {
        let since = Instant::now();
        queue.due().await;
        since.elapsed()
    }

    #[test]
    fn it_holds_so_many_and_gives_the_oldest_first() {
        let queue = queue(10);
        assert!(!queue.push(10));
        assert_eq!(
            (taken(&queue), taken(&queue), taken(&queue)),
            (vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9])
        );
        assert!(taken(&queue).is_empty() && queue.len() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn less_than_a_batch_waits_for_others() {
        assert_eq!(wait(&queue(3)).await, DELAY);
        assert_eq!(wait(&queue(4)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_batch_is_sent_is_gathered_too() {
        // The notification is for items that are taken before the wait begins.
        let queue = queue(5);
        assert_eq!(taken(&queue).len(), 4);
        assert_eq!(wait(&queue).await, DELAY);
        // A second batch is complete now.
        assert!((0..7).all(|item| queue.push(item)));
        assert_eq!(taken(&queue).len(), 4);
        assert_eq!(wait(&queue).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_a_batch_ends_the_wait() {
        let queue = queue(3);
        let (waited, ()) = tokio::join!(wait(&queue), async {
            sleep(DELAY / 2).await;
            assert!(queue.push(3));
        });
        assert_eq!(waited, DELAY / 2);
    }
}
