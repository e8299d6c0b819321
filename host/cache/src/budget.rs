//! The bytes that the cache takes. Everything that an entry or an arriving response holds is charged, until the last
//! reader of the bytes is gone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The bytes that are charged, and the most that may be.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    capacity: usize,
}

/// Bytes of a [`Budget`], which are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), capacity })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Charges this many bytes. `None`: the capacity would be exceeded.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.capacity);
        self.used.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Charge { budget: self.clone(), bytes })
    }
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes over the bytes of `other`.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all but this many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let rest = self.bytes.saturating_sub(bytes);
        self.budget.used.fetch_sub(rest, Relaxed);
        self.bytes -= rest;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_given_back() {
        let budget = Budget::new(100);
        let mut one = budget.charge(60).unwrap();
        assert!(budget.charge(41).is_none());
        one.add(budget.charge(40).unwrap());
        assert_eq!((budget.used(), one.bytes()), (100, 100));
        one.shrink(30);
        assert_eq!(budget.used(), 30);
        one.shrink(70);
        assert_eq!(budget.used(), 30, "it only shrinks");
        drop(one);
        assert_eq!(budget.used(), 0);
        assert!(budget.charge(usize::MAX).is_none());
    }
}
