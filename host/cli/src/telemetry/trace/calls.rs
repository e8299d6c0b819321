//! The requests of one instance, as its spans see them.

use std::{ops::Deref, sync::Arc};

use super::{Origin, Tracer};
use crate::tasks::Tasks;

/// Whose task is whose request, and who is told of what it asks.
pub(crate) struct Calls {
    pub(super) tracer: Arc<Tracer>,
    pub(super) component: Arc<str>,
    tasks: Tasks<Origin>,
}

impl Calls {
    /// For a new instance.
    pub(crate) fn new(tracer: Arc<Tracer>, component: Arc<str>) -> Self {
        Self { tracer, component, tasks: Tasks::default() }
    }
}

impl Deref for Calls {
    type Target = Tasks<Origin>;

    fn deref(&self) -> &Tasks<Origin> {
        &self.tasks
    }
}
