//! A value that a guest may use until a deadline. A guest that never reads the value, or forgets it, does not keep
//! its resources.

use std::sync::{Arc, Mutex};

use tokio::{task::AbortHandle, time::Instant};

use crate::lock;

/// A value that a task takes away at a deadline. Dropping `Held` drops the value at once and stops the task.
pub struct Held<T> {
    shared: Arc<Mutex<Option<T>>>,
    watch: AbortHandle,
}

impl<T: Send + 'static> Held<T> {
    /// Holds `held` until `deadline`. At the deadline, a task calls `late` with the value and then drops the value.
    /// The caller must be on a Tokio runtime.
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

    /// Calls `used` with the value. `None`: the deadline has passed and the value is gone.
    pub fn with<R>(&self, used: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.shared).as_mut().map(used)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.watch.abort();
        // Drop the value now, not when the runtime next polls the aborted task.
        drop(lock(&self.shared).take());
    }
}
