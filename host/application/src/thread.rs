//! The resources of a serving thread, and how the thread assembles the application that it serves.

use std::sync::Arc;

use tokio::runtime::Handle;
use wasi_http_host_keyvalue::{Stats as KeyValueStats, Stores, UnknownStore};
use wasi_http_host_outbound::{self as outbound, Outbound};
use wasi_http_host_runtime::{Dispatch, DispatchContext, Siblings, Template};
use wasi_http_host_telemetry::trace::Tracer;
use wasmtime::Engine;

use super::{ApplicationConfig, Current, Deployment, Generation, Served, ThreadApplication, chain::Chain};

/// The resources that a thread gives to all components that it serves.
pub struct ThreadContext {
    /// The thread's number, counted from 0, and the number of threads.
    pub at: (usize, usize),
    /// The limits of instances.
    pub config: Arc<ApplicationConfig>,
    /// Runs the components.
    pub engine: Engine,
    /// The thread's own runtime.
    pub runtime: Handle,
    /// The key-value stores. Connections to remote stores belong to this thread.
    pub stores: Stores,
    /// Counts operations on key-value stores, on this thread.
    pub keyvalue_stats: Arc<KeyValueStats>,
    /// The outbound resources that the whole process shares.
    pub outbound: Arc<Outbound>,
    /// The application that the thread serves now, for components that call one another.
    pub current: Arc<Current>,
    /// `None` if tracing is off.
    pub tracer: Option<Arc<Tracer>>,
    /// Maximum size of the body of a request between components, in bytes: that of a client's request.
    pub max_request_body: u64,
}

impl ThreadContext {
    /// Assembles `generation` for this thread. Components that have not changed since `previous` are reused.
    ///
    /// # Errors
    /// A component is granted a store that the thread does not have.
    pub fn assemble(
        &self,
        generation: &Arc<Generation>,
        previous: Option<&ThreadApplication>,
    ) -> Result<ThreadApplication, UnknownStore> {
        let served = generation.deployments.iter().map(|deployment| {
            let before = previous.and_then(|previous| previous.named(&deployment.name));
            match before {
                Some(before) if Arc::ptr_eq(&before.deployment, deployment) => Ok(before.clone()),
                _ => self.serve(deployment, before.map(|before| &**before)).map(Arc::new),
            }
        });
        Ok(ThreadApplication { generation: generation.clone(), served: served.collect::<Result<_, _>>()? })
    }

    fn serve(&self, deployment: &Arc<Deployment>, before: Option<&Served>) -> Result<Served, UnknownStore> {
        let outbound = match before.filter(|before| before.deployment.policy == deployment.policy) {
            // The policy has not changed, so the open connections can stay in use.
            Some(before) => before.outbound.clone(),
            None => outbound::Client::new(
                self.outbound.clone(),
                deployment.policy.clone(),
                deployment.outbound_stats.clone(),
            ),
        };
        let template = Template {
            max_memory: deployment.bounds.max_memory.as_usize(),
            environment: deployment.environment.clone(),
            mounts: deployment.mounts.clone(),
            files: deployment.files.clone(),
            settings: deployment.resolved.settings.clone(),
            keyvalue: self.stores.grant(&deployment.name, &deployment.stores)?,
            keyvalue_stats: self.keyvalue_stats.clone(),
            outbound: outbound.clone(),
            output: deployment.output.clone(),
            metrics: deployment.metrics.clone(),
            siblings: deployment.policy.chains().then(|| {
                let policy = deployment.policy.clone();
                Arc::new(Chain::new(self.current.clone(), policy, self.max_request_body)) as Arc<dyn Siblings>
            }),
            component: deployment.name.clone(),
            tracer: self.tracer.clone(),
        };
        let metrics = deployment.metrics.worker(self.at.0);
        let linked = deployment.code.linked.clone();
        let (kind, shares) = (linked.kind(), linked.footprint().shares());
        let limits = deployment.bounds.on(&self.config.instances, self.at, kind, shares, linked.waits());
        let dispatch = Dispatch::start(DispatchContext {
            engine: self.engine.clone(),
            linked,
            template,
            limits,
            metrics: deployment.metrics.clone(),
            worker: metrics.clone(),
            runtime: self.runtime.clone(),
        });
        Ok(Served { deployment: deployment.clone(), dispatch, metrics, outbound })
    }
}
