//! The spans of the requests of one instance.

use std::{ops::Deref, sync::Arc};

use wasi_http_host_telemetry::trace::{Origin, Tracer};

use super::tasks::Tasks;

/// The span of each task's request, and the tracer that receives the spans of the guest's calls.
pub(crate) struct TracedTasks {
    pub(crate) tracer: Arc<Tracer>,
    pub(crate) component: Arc<str>,
    tasks: Tasks<Origin>,
}

impl TracedTasks {
    /// For a new instance of `component`.
    pub(crate) fn new(tracer: Arc<Tracer>, component: Arc<str>) -> Self {
        Self { tracer, component, tasks: Tasks::default() }
    }
}

impl Deref for TracedTasks {
    type Target = Tasks<Origin>;

    fn deref(&self) -> &Tasks<Origin> {
        &self.tasks
    }
}
