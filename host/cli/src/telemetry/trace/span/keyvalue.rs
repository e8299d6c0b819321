//! The span of an operation on a key-value store.

use std::sync::Arc;

use wasmtime::StoreContextMut;

use super::{Calls, KeyValueDetails, Origin, Span, Start, What};
use crate::keyvalue::{Access, Operation};

/// An operation on a key-value store that is sampled; it is kept when it is dropped.
pub(crate) struct KeyValueSpan {
    calls: Arc<Calls>,
    parent: Arc<Origin>,
    start: Start,
    details: Option<KeyValueDetails>,
}

impl KeyValueSpan {
    /// Begins one for the task that is calling. `None` where its request is not sampled, or not known.
    pub(crate) fn begin<T>(
        calls: &Arc<Calls>,
        store: StoreContextMut<'_, T>,
        operation: Operation,
        access: Access,
        bucket: u32,
    ) -> Option<Self> {
        let parent = calls.caller(store).filter(|origin| origin.context.sampled)?;
        let details = Some(KeyValueDetails { operation, access, bucket, known: false, failed: false });
        Some(Self { calls: calls.clone(), parent, start: Start::now(), details })
    }

    /// What a remote store would say was known.
    pub(crate) fn set_known(&mut self) {
        if let Some(details) = &mut self.details {
            details.known = true;
        }
    }

    /// It came to nothing.
    pub(crate) fn set_failed(&mut self) {
        if let Some(details) = &mut self.details {
            details.failed = true;
        }
    }
}

impl Drop for KeyValueSpan {
    fn drop(&mut self) {
        let Some(details) = self.details.take() else { return };
        let Origin { context, state } = &*self.parent;
        self.calls.tracer.keep(Span {
            origin: Origin { context: context.child(), state: state.clone() },
            parent: Some(context.span),
            component: Some(self.calls.component.clone()),
            start: self.start.time,
            duration: self.start.moment.elapsed(),
            what: What::KeyValue(details),
        });
    }
}
