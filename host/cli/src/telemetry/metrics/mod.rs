//! What is counted. Each thread counts its requests in memory of its own, so that cores do not contend for it; a
//! scrape adds them up.

mod component;
mod host;

pub(crate) use component::{EndReason, Metrics, Rejection, WorkerMetrics};
pub(crate) use host::{HostMetrics, Reload};

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.inc_by(1);
    }

    pub(crate) fn inc_by(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn dec(&self) {
        self.sub(1);
    }

    pub(crate) fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Declares an enum whose values are a label's, and a set of counters indexed by it.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident, $counters:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)+ }

        #[derive(Debug, Default)]
        #[expect(non_snake_case, reason = "one counter a variant, by its name")]
        pub(crate) struct $counters { $($variant: Counter,)+ }

        impl $counters {
            pub(crate) fn count(&self, by: $name) {
                match by { $($name::$variant => self.$variant.inc(),)+ }
            }

            pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($label, self.$variant.get()),)+].into_iter()
            }
        }
    };
}
use labels;
