//! Counters and gauges. Each thread counts its requests in its own memory, so cores do not contend for a counter. A
//! scrape adds up the threads' values.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows. All operations are relaxed atomics.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `n`.
    pub fn inc_by(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Returns the present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down. All operations are relaxed atomics.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Replaces the value.
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Subtracts `n`.
    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// Returns the present value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Declares an enum whose variants are the values of a label. `ALL` has the variants in the order of declaration, and
/// `as_str` returns the label value.
#[macro_export]
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All variants, in the order of declaration.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// The label value, as in metrics and traces.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

/// Declares [`labels!`](crate::labels), and a struct with one counter for each variant.
#[macro_export]
macro_rules! labelled_counters {
    ($(#[$doc:meta])* $name:ident, $counters:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $crate::labels! {
            $(#[$doc])*
            $name { $($(#[$variant_doc])* $variant = $label,)+ }
        }

        #[doc = concat!("One counter for each [`", stringify!($name), "`].")]
        #[derive(Debug, Default)]
        pub struct $counters([$crate::Counter; $name::ALL.len()]);

        impl $counters {
            /// Adds one.
            pub fn count(&self, by: $name) {
                // There is one counter for each variant, in the order of declaration.
                if let Some(counter) = self.0.get(by as usize) {
                    counter.inc();
                }
            }

            /// Returns the count of one label value.
            #[must_use]
            pub fn get(&self, of: $name) -> u64 {
                self.0.get(of as usize).map_or(0, $crate::Counter::get)
            }

            /// Returns each label value with its count, in the order of declaration.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                $name::ALL.into_iter().zip(&self.0).map(|(label, counter)| (label.as_str(), counter.get()))
            }
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro declares public items")]
mod tests {
    labelled_counters! {
        /// The size of something.
        Size, Sizes {
            /// Less than the other.
            Small = "small",
            /// More than the other.
            Large = "large",
        }
    }

    #[test]
    fn each_label_has_a_counter_of_its_own() {
        let sizes = Sizes::default();
        for size in [Size::Large, Size::Small, Size::Large] {
            sizes.count(size);
        }
        assert_eq!(sizes.all().collect::<Vec<_>>(), [("small", 1), ("large", 2)]);
        assert_eq!(sizes.get(Size::Large), 2);
        assert_eq!(Size::ALL.map(Size::as_str), ["small", "large"]);
    }
}
