//! The platform that the component runs on: clocks, random numbers, settings, tasks and the log.

use std::cell::Cell;
use std::time::Duration;

use spin_sdk::wasip3;
use spin_sdk::wit_bindgen;

use super::{bindings, task};
use crate::ports::{Clock, Configuration, Log, Notify, Random, Spawn};

/// How long the difference between the clocks is cached. A request then needs one host call for both instead of two.
const OFFSET_TTL: Duration = Duration::from_secs(1);

/// [`Platform`](crate::ports::Platform) on WASI; requests and stores are in modules of their own.
#[derive(Default)]
pub(super) struct Wasi {
    /// The system time minus the monotonic time, and the monotonic time when it was measured.
    offset: Cell<Option<(Duration, Duration)>>,
}

impl Clock for Wasi {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(wasip3::clocks::monotonic_clock::now())
    }

    fn system_at(&self, moment: Duration) -> Duration {
        match self.offset.get() {
            Some((offset, since)) if moment.saturating_sub(since) < OFFSET_TTL => offset + moment,
            _ => {
                let instant = wasip3::clocks::system_clock::now();
                let seconds = u64::try_from(instant.seconds).unwrap_or_default();
                let now = Duration::new(seconds, instant.nanoseconds);
                self.offset.set(Some((now.saturating_sub(moment), moment)));
                now
            }
        }
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        wasip3::clocks::monotonic_clock::wait_for(nanos)
    }
}

impl Random for Wasi {
    fn random(&self) -> u64 {
        wasip3::random::random::get_random_u64()
    }
}

impl Configuration for Wasi {
    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        use bindings::wasi::config::store::{Error, get};
        get(name).map_err(|error| match error {
            Error::Upstream(reason) | Error::Io(reason) => reason,
        })
    }
}

impl Spawn for Wasi {
    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        task::spawn(Box::pin(work));
    }
}

impl Notify for Wasi {
    type Notifier = wit_bindgen::StreamWriter<u8>;
    type Notified = std::pin::Pin<Box<dyn Future<Output = ()>>>;

    /// A stream that never carries a byte. Its end is the signal, and that does wake another component-model task.
    fn notification(&self) -> (Self::Notifier, Self::Notified) {
        let (writer, mut reader) = wasip3::wit_stream::new::<u8>();
        (writer, Box::pin(async move { drop(reader.read(Vec::with_capacity(1)).await) }))
    }
}

impl Log for Wasi {
    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}
