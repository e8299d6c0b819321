//! What a guest is given to read, for a time: one that never reads it, or forgets it, does not keep it.

use std::sync::{Arc, Mutex};

use tokio::{task::AbortHandle, time::Instant};

use crate::lock;

/// What is shared with a watch that takes it away at a deadline.
pub struct Held<T> {
    shared: Arc<Mutex<Option<T>>>,
    watch: AbortHandle,
}

impl<T: Send + 'static> Held<T> {
    /// Holds it until `deadline`, when `late` is told before it goes. To be called on a runtime.
    pub fn until(deadline: Instant, held: T, late: impl FnOnce(&mut T) + Send + 'static) -> Self {
        let shared = Arc::new(Mutex::new(Some(held)));
        let watched = Arc::clone(&shared);
        let watch = tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            let taken = lock(&watched).take();
            if let Some(mut held) = taken {
                late(&mut held);
            }
        });
        Self { shared, watch: watch.abort_handle() }
    }

    /// Uses it, if it is still there.
    pub fn with<R>(&self, used: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.shared).as_mut().map(used)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.watch.abort();
        // Now, not when the runtime comes to the watch.
        drop(lock(&self.shared).take());
    }
}
