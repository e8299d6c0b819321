//! The application as one thread serves it.

use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use wasmtime::Engine;

use super::{Deployment, Generation};
use crate::{
    chain::Chain,
    config::Config,
    guest::Template,
    keyvalue::{self, Stores, UnknownStore},
    outbound::{self, Outbound},
    service::Dispatch,
    sync::lock,
    telemetry::{WorkerMetrics, trace::Tracer},
};

/// What a thread gives to all components that it serves.
pub(crate) struct Thread {
    /// Its number, and of how many.
    pub(crate) at: (usize, usize),
    pub(crate) config: Arc<Config>,
    pub(crate) engine: Engine,
    pub(crate) runtime: Handle,
    /// With connections of this thread where they are remote.
    pub(crate) stores: Stores,
    pub(crate) keyvalue_stats: Arc<keyvalue::Stats>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) current: Arc<Current>,
    /// None where nobody asks for traces.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// What a thread serves now.
#[derive(Default)]
pub(crate) struct Current(Mutex<Arc<Lineup>>);

impl Current {
    pub(crate) fn get(&self) -> Arc<Lineup> {
        lock(&self.0).clone()
    }

    /// The component that a request for `path` is for.
    pub(crate) fn find(&self, path: &str) -> Option<Arc<Served>> {
        lock(&self.0).find(path).cloned()
    }

    pub(crate) fn set(&self, lineup: Arc<Lineup>) {
        let before = std::mem::replace(&mut *lock(&self.0), lineup);
        // Not under the lock: it may be the last of its kind.
        drop(before);
    }
}

/// All components as one thread serves them. Requests find theirs here.
#[derive(Default)]
pub(crate) struct Lineup {
    generation: Arc<Generation>,
    served: Vec<Arc<Served>>,
}

/// A component as one thread serves it.
pub(crate) struct Served {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Its connections live on the thread.
    outbound: outbound::Client,
}

impl Lineup {
    /// What `thread` serves of `generation`. What has not changed since `previous` is the same.
    ///
    /// # Errors
    /// When a component is granted a store that the thread does not have.
    pub(crate) fn new(
        generation: &Arc<Generation>,
        thread: &Thread,
        previous: Option<&Self>,
    ) -> Result<Self, UnknownStore> {
        let served = generation.deployments.iter().map(|deployment| {
            let before = previous.and_then(|previous| previous.named(&deployment.name));
            match before {
                Some(before) if Arc::ptr_eq(&before.deployment, deployment) => Ok(before.clone()),
                _ => Served::new(deployment, thread, before.map(|before| &**before)).map(Arc::new),
            }
        });
        Ok(Self { generation: generation.clone(), served: served.collect::<Result<_, _>>()? })
    }

    /// The component that a request for `path` is for.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Served>> {
        let (_, component) = self.generation.manifest.routes.find(path)?;
        self.served.get(component)
    }

    /// The route that it takes, as the manifest has it.
    pub(crate) fn route(&self, path: &str) -> Option<String> {
        self.generation.manifest.routes.find(path).map(|(route, _)| route.to_string())
    }

    /// The component of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Served>> {
        self.served.iter().find(|served| *served.deployment.name == *name)
    }

    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(crate) fn served(&self) -> &[Arc<Served>] {
        &self.served
    }

    /// The component that the host asks for `path` on its own behalf: the only one, or the one that is routed there.
    pub(crate) fn asked(&self, path: &str) -> Option<&Arc<Served>> {
        match &*self.served {
            [only] => Some(only),
            _ => self.find(path),
        }
    }
}

impl Served {
    /// Whether it may ask other components.
    pub(crate) fn chains(&self) -> bool {
        self.deployment.policy.chains()
    }

    fn new(
        deployment: &Arc<Deployment>,
        thread: &Thread,
        before: Option<&Self>,
    ) -> Result<Self, UnknownStore> {
        let outbound = match before.filter(|before| before.deployment.policy == deployment.policy) {
            // What it may reach has not changed: its connections are as good as new ones.
            Some(before) => before.outbound.clone(),
            None => outbound::Client::new(
                thread.outbound.clone(),
                deployment.policy.clone(),
                deployment.outbound_stats.clone(),
            ),
        };
        let template = Template {
            max_memory: deployment.bounds.max_memory.as_usize(),
            environment: deployment.environment.clone(),
            mounts: deployment.mounts.clone(),
            settings: deployment.resolved.settings.clone(),
            keyvalue: thread.stores.grant(&deployment.stores)?,
            keyvalue_stats: thread.keyvalue_stats.clone(),
            outbound: outbound.clone(),
            output: deployment.output.clone(),
            metrics: deployment.metrics.clone(),
            chain: deployment
                .policy
                .chains()
                .then(|| Chain::new(thread.current.clone(), deployment.policy.clone())),
            component: deployment.name.clone(),
            tracer: thread.tracer.clone(),
        };
        let metrics = deployment.metrics.worker(thread.at.0);
        let linked = deployment.code.linked.clone();
        let limits = deployment.bounds.on(&thread.config, thread.at, linked.kind(), linked.waits());
        let dispatch = Dispatch::new(
            thread.engine.clone(),
            linked,
            template,
            limits,
            deployment.metrics.clone(),
            metrics.clone(),
            thread.runtime.clone(),
        );
        Ok(Self { deployment: deployment.clone(), dispatch, metrics, outbound })
    }
}
