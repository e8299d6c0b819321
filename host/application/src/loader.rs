//! Loads generations.

use std::{path::PathBuf, sync::Arc};

use wasmtime::Engine;

use super::{
    Deployment, Generation,
    bounds::Bounds,
    generation::Code,
    mounts::resolve_mounts,
    source::{self, AppError, Binary},
};
use wasi_http_host_cache::{self as response_cache, Space};
use wasi_http_host_core::environment;
use wasi_http_host_egress::Policy;
use wasi_http_host_keyvalue::Stores;
use wasi_http_host_manifest::{Component, Manifest, Resolved};
use wasi_http_host_outbound as outbound;
use wasi_http_host_runtime::{
    Admission, CodeConfig, ComponentError, FootprintError, GuestOutput, Linked, MetricsRegistry, Needs,
    check_binary,
    engine::{self, Cache, Compiled},
};

use super::{ApplicationConfig, LoadError};

/// The parts of the process that a loader uses.
pub struct Resources {
    /// The application, its settings and its limits.
    pub config: Arc<ApplicationConfig>,
    /// Compiles the components.
    pub engine: Engine,
    /// All stores that components can be granted.
    pub stores: Stores,
    /// Names of stores that every component is granted, whatever the manifest says. Flags name these stores.
    pub granted: Vec<String>,
    /// The metrics of all components, over all generations.
    pub metrics: Arc<MetricsRegistry>,
    /// The cache of responses, if the host has one.
    pub response_cache: Option<Arc<response_cache::Cache>>,
}

/// Loads generations.
pub struct Loader {
    resources: Resources,
    cache: Cache,
}

impl Loader {
    /// Uses the cache of compiled code that the configuration names.
    #[must_use]
    pub fn new(resources: Resources) -> Self {
        let cache = cache(&resources.config.code);
        Self { resources, cache }
    }

    /// Compiles and links the components of `manifest`, whose code is `binaries`. Everything that has not changed
    /// since `previous` is reused. `compiles` is called before each compilation.
    ///
    /// # Errors
    /// Names the file, component, store or variable.
    pub fn load(
        &self,
        manifest: Manifest,
        binaries: &[Binary],
        previous: Option<&Generation>,
        compiles: &dyn Fn(),
    ) -> Result<Arc<Generation>, LoadError> {
        let parts = manifest.components.iter().zip(binaries);
        let codes = parts.map(|(component, wasm)| self.code(component, wasm, previous, compiles));
        let codes = codes.collect::<Result<Vec<_>, _>>()?;
        let sources = source::sources(&self.resources.config);
        let resolved = manifest.resolve(&sources).map_err(AppError::from)?;
        self.generation(manifest, codes, resolved, previous)
    }

    /// Like [`Self::load`], with the manifest and the components that are in the files now.
    ///
    /// # Errors
    /// Those of [`Self::load`], or a file cannot be read.
    pub fn reload(&self, previous: &Generation) -> Result<Arc<Generation>, LoadError> {
        let mut manifest = source::manifest(&self.resources.config)?;
        resolve_mounts(&mut manifest)?;
        let binaries = source::binaries(&manifest)?;
        self.load(manifest, &binaries, Some(previous), &|| {})
    }

    /// Reads the settings of the same components again. `None` if no setting has changed.
    ///
    /// # Errors
    /// Names the variable or file.
    pub fn settings(&self, previous: &Generation) -> Result<Option<Vec<Resolved>>, LoadError> {
        let sources = source::sources(&self.resources.config);
        let resolved = previous.manifest.resolve(&sources).map_err(AppError::from)?;
        let before = previous.deployments.iter().map(|deployment| &deployment.resolved);
        Ok(if before.eq(&resolved) { None } else { Some(resolved) })
    }

    /// A generation with the same components and these settings.
    ///
    /// # Errors
    /// A component is granted a store that does not exist.
    pub fn with_settings(
        &self,
        previous: &Generation,
        settings: Vec<Resolved>,
    ) -> Result<Arc<Generation>, LoadError> {
        let codes = previous.deployments.iter().map(|deployment| deployment.code.clone()).collect();
        self.generation(previous.manifest.clone(), codes, settings, Some(previous))
    }

    /// The files of the current generation, and those that the manifest names now if it can be read.
    pub fn files(&self, current: &Generation) -> Vec<PathBuf> {
        let config = &self.resources.config;
        let named = Manifest::load(&config.app).map(|manifest| manifest.components).unwrap_or_default();
        let mut files = vec![Manifest::file(&config.app)];
        for component in named.iter().chain(&current.manifest.components) {
            if !files.contains(&component.source) {
                files.push(component.source.clone());
            }
        }
        files
    }

    /// The configuration of the loader.
    #[must_use]
    pub fn config(&self) -> &ApplicationConfig {
        &self.resources.config
    }

    fn code(
        &self,
        component: &Component,
        wasm: &Binary,
        previous: Option<&Generation>,
        compiles: &dyn Fn(),
    ) -> Result<Code, LoadError> {
        let remote = !self.resources.stores.grant(&component.id, &self.stores(component))?.is_local();
        let before = previous.and_then(|previous| previous.named(&component.id));
        if let Some(before) = before
            && before.code.digest == wasm.digest
            && before.code.remote == remote
        {
            return Ok(before.code.clone());
        }
        let failed = |cause| LoadError::Component { name: component.id.clone(), cause };
        let compiled = compiled(&self.resources.engine, &self.cache, component, wasm, compiles)?;
        let linked = Linked::new(&self.resources.engine, &compiled, remote).map_err(failed)?;
        Ok(Code { digest: wasm.digest, remote, linked: Arc::new(linked) })
    }

    /// Names of all stores that `component` may open.
    fn stores(&self, component: &Component) -> Vec<String> {
        let mut names = component.key_value_stores.clone();
        names.extend(
            self.resources.granted.iter().filter(|name| !component.key_value_stores.contains(name)).cloned(),
        );
        names
    }

    /// A new part of the response cache. `None`: the host has no cache, or the manifest says no.
    fn space(&self, component: &Component) -> Option<Arc<Space>> {
        let wants = component.limits.response_cache.unwrap_or(true);
        self.resources.response_cache.as_ref().filter(|_| wants).map(|cache| cache.space(&component.id))
    }

    fn generation(
        &self,
        manifest: Manifest,
        codes: Vec<Code>,
        resolved: Vec<Resolved>,
        previous: Option<&Generation>,
    ) -> Result<Arc<Generation>, LoadError> {
        let parts = manifest.components.iter().zip(codes).zip(resolved);
        let deployments = parts.map(|((component, code), resolved)| {
            let before = previous.and_then(|previous| previous.named(&component.id));
            self.deployment(component, code, resolved, before)
        });
        let deployments = deployments.collect::<Result<_, _>>()?;
        Ok(Arc::new(Generation { manifest, deployments }))
    }

    fn deployment(
        &self,
        component: &Component,
        code: Code,
        resolved: Resolved,
        before: Option<&Arc<Deployment>>,
    ) -> Result<Arc<Deployment>, LoadError> {
        let Resources { config, metrics, .. } = &self.resources;
        let metrics = metrics.component(&component.id);
        let bounds = match before.filter(|before| before.component.limits == component.limits) {
            Some(before) => before.bounds.clone(),
            None => Bounds::new(&config.instances, &config.requests, &component.id, &component.limits),
        };
        let (footprint, threads) = (code.linked.footprint(), config.instances.thread_count());
        if bounds.shared_instances(threads, footprint.shares()) < threads {
            let cause = FootprintError::NoPlace { footprint, instances: bounds.instances(threads), threads };
            return Err(LoadError::Component { name: component.id.clone(), cause: cause.into() });
        }
        for entry in resolved.allowed_outbound_hosts.unsupported() {
            tracing::warn!(
                component = component.id,
                entry,
                "allowed_outbound_hosts: this entry is not supported and allows nothing"
            );
        }
        let policy =
            Policy::new(resolved.allowed_outbound_hosts.clone(), config.outbound.outbound_allow_cidr.clone());
        let outbound = match before.filter(|before| *before.policy == policy) {
            Some(before) => (before.policy.clone(), before.outbound_stats.clone()),
            None => {
                let stats = match before {
                    Some(before) => before.outbound_stats.under(&policy),
                    None => outbound::Stats::new(&policy),
                };
                (Arc::new(policy), Arc::new(stats))
            }
        };
        let admission = match before.filter(|before| before.bounds == bounds) {
            Some(before) => before.admission.clone(),
            None => Arc::new(Admission::new(
                bounds.max_concurrent_requests,
                bounds.max_queued_requests,
                config.requests.queue_timeout.get(),
                metrics.clone(),
            )),
        };
        let deployment = Deployment {
            space: self.space(component),
            name: component.id.as_str().into(),
            output: GuestOutput::new(&component.id, metrics.clone()),
            metrics,
            admission,
            bounds,
            policy: outbound.0,
            outbound_stats: outbound.1,
            stores: self.stores(component),
            mounts: component.files.clone().into(),
            files: Arc::default(),
            environment: component.environment.clone().into_iter().collect(),
            component: component.clone(),
            resolved,
            code,
        };
        Ok(match before.filter(|before| before.is_same(&deployment)) {
            Some(before) => before.clone(),
            None => Arc::new(deployment),
        })
    }
}

pub(super) fn cache(config: &CodeConfig) -> Cache {
    let variable = |name| environment::variable(name).map(PathBuf::from);
    let dir =
        config.cache_dir.clone().or_else(|| Cache::default_dir(variable("XDG_CACHE_HOME"), variable("HOME")));
    match dir {
        _ if config.no_cache => Cache::none(),
        Some(dir) => Cache::at(dir),
        None => {
            tracing::warn!(
                "no home directory and no --cache-dir: compiled code is not cached, and each start compiles again"
            );
            Cache::none()
        }
    }
}

pub(super) fn compiled(
    engine: &Engine,
    cache: &Cache,
    component: &Component,
    wasm: &Binary,
    compiles: &dyn Fn(),
) -> Result<Compiled, LoadError> {
    let failed = |cause| LoadError::Component { name: component.id.clone(), cause };
    cache.load(engine, &wasm.digest, || {
        let bytes = wasm.read()?;
        check_binary(&bytes).map_err(failed)?;
        compiles();
        let code = engine::compile(engine, &component.id, &bytes);
        let code = code.map_err(|error| failed(ComponentError::Invalid(error)))?;
        let needs = Needs::of(&bytes).map_err(|error| failed(ComponentError::Invalid(error.into())))?;
        Ok((code, needs))
    })
}
