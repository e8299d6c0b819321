//! Builds the host from its subsystems.

use std::{
    net::{SocketAddr, TcpListener},
    panic::resume_unwind,
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use tokio::runtime::Builder as RuntimeBuilder;

use wasi_http_host_application::{
    self as application, ApplicationConfig, Binary, Generation, LoadError, Loader, Resources, ThreadContext,
};
use wasi_http_host_cache::Cache;
use wasi_http_host_core::{InvalidSetting, environment};
use wasi_http_host_egress::{Proxies, Resolve, RootsError, SystemResolver};
use wasi_http_host_keyvalue::{self as keyvalue, RedisConfig, Store, Stores};
use wasi_http_host_manifest::Manifest;
use wasi_http_host_outbound::{Direct, Outbound, OutboundSettings};
use wasi_http_host_runtime::engine::{self, Engine, EngineError};
use wasi_http_host_server::{self as server, Shared, Tls, Worker};
use wasi_http_host_telemetry::{
    AccessLog, Log, Switch,
    trace::{self, Tracer, Traces},
};

use super::{Host, StartError, starting::Starting};
use crate::{
    admin::Admin,
    config::Config,
    descriptors,
    memory::MemoryLimits,
    metrics::{HostMetrics, InterfaceMetrics},
    reload::{FileWatch, Hangup, Reloader},
};

/// Builds a host. An embedder can add key-value stores first.
pub struct Builder {
    config: Config,
    stores: Vec<(String, Arc<dyn Store>)>,
}

impl Host {
    /// A builder for a host with these settings.
    pub fn builder(config: Config) -> Builder {
        Builder { config, stores: Vec::new() }
    }

    /// A host with these settings.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new(config: Config) -> Result<Self, StartError> {
        Self::builder(config).build()
    }
}

impl Builder {
    /// Adds a key-value store, or replaces the store with this name. The manifest grants stores by name.
    #[must_use]
    pub fn store(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.stores.push((name.to_owned(), store));
        self
    }

    /// Reads, compiles, links and binds everything that the configuration names.
    ///
    /// # Errors
    /// Names the subsystem that failed, with the setting, file or address.
    pub fn build(self) -> Result<Host, StartError> {
        let Self { config, stores } = self;
        config.validate()?;
        RedisConfig::check_renamed(|name| {
            environment::variable(name).is_some_and(|value| !value.is_empty())
        })?;
        let config = Arc::new(config);
        let log = Log::new(&config.log)?;
        log.install();
        let tls = Tls::new(&config.server.tls)?;
        // Bind first, so that an address in use is reported before anything is compiled.
        let listener = bind(config.main_listener(variable("PORT").as_deref())?)?;
        let admin_listener = bind(config.admin_listen)?;

        let hangup = Hangup::listen();
        let (mut manifest, watch) = read_manifest(&config)?;
        let engine = spawn_engine(&config, &manifest)?;
        let binaries = application::binaries(&manifest)?;
        application::resolve_mounts(&mut manifest)?;
        let files_of_mounts = descriptors::of_mounts(&config, &manifest);
        let backends = Backends::open(&config, &manifest, stores)?;
        let metrics = Arc::new(HostMetrics::default());
        let shared = shared(&config, &log, &metrics, tls, backends.tracer());
        let engine = engine.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        metrics.instance_pool.add(engine::is_pooling(&engine).into());
        let application_config = Arc::new(config.application.clone());
        let response_cache = config.application.response_cache.settings().map(Cache::new);
        let loader = Arc::new(Loader::new(Resources {
            config: application_config.clone(),
            engine: engine.clone(),
            stores: backends.stores.clone(),
            granted: config.keyvalue.granted()?,
            metrics: metrics.components.clone(),
            response_cache: response_cache.clone(),
        }));
        let admin = || Admin::starting(metrics.clone(), backends.stores.clone(), log.clone());
        let generation = first_generation(&loader, manifest, &binaries, &admin_listener, admin)?;
        let memory = MemoryLimits::new(config.clone())?;
        memory.report(&generation, &metrics.memory_bound);
        let (workers, interfaces) =
            start_workers(&shared, &generation, &application_config, &config, &engine, &backends)?;
        let reloader =
            Reloader::new(loader, generation, workers.clone(), metrics.clone(), memory, watch, hangup);
        let control = RuntimeBuilder::new_current_thread().enable_all().build()?;
        Ok(Host {
            address: listener.local_addr()?,
            admin_address: admin_listener.local_addr()?,
            config,
            files_of_mounts,
            control,
            listener,
            admin_listener,
            shared,
            response_cache,
            workers,
            metrics,
            interfaces,
            outbound: backends.outbound,
            stores: backends.stores,
            reloader,
            log,
            traces: backends.traces,
        })
    }
}

/// The value of a variable of the process; `None` if it is not UTF-8.
fn variable(name: &str) -> Option<String> {
    environment::variable(name)?.into_string().ok()
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    server::bind(address).map_err(|cause| StartError::Listen { address, cause })
}

/// The manifest. With `--watch`, also the watch over its files. The watch begins before the files are read, so that it
/// misses no change.
fn read_manifest(config: &Config) -> Result<(Manifest, Option<FileWatch>), StartError> {
    let mut watch = config.watch.then(|| FileWatch::manifest(&config.application.app));
    let manifest = application::manifest(&config.application)?;
    if let Some(watch) = &mut watch {
        watch.components(&manifest);
    }
    Ok((manifest, watch))
}

/// Creates the engine on a thread of its own. Creating the pool of instances takes a quarter of a start, so it runs at
/// the same time as other work.
fn spawn_engine(
    config: &Config,
    manifest: &Manifest,
) -> Result<JoinHandle<Result<Engine, EngineError>>, StartError> {
    let instances = &config.application.instances;
    let (max_memory, capacity) =
        (instances.max_memory.as_usize(), application::pool_capacity(instances, manifest)?);
    Ok(thread::Builder::new().name("engine".to_owned()).spawn(move || engine::new(max_memory, capacity))?)
}

/// The services that the host calls: for components, or to export its spans.
struct Backends {
    outbound: Arc<Outbound>,
    stores: Stores,
    /// `None` if tracing is off.
    traces: Option<Traces>,
}

impl Backends {
    /// `stores` are the embedder's own. They replace those of the configuration with the same names.
    fn open(
        config: &Config,
        manifest: &Manifest,
        stores: Vec<(String, Arc<dyn Store>)>,
    ) -> Result<Self, StartError> {
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
        let traces = traces(config, manifest, &resolver)?;
        let identities = config.application.outbound.identities()?;
        let settings = OutboundSettings { identities, ..outbound_settings(config, manifest)? };
        let outbound = Outbound::new(settings).map_err(ca_file("--outbound-ca-file"))?;
        let outbound = Arc::new(outbound.with_resolver(resolver.clone()));
        let threads = config.application.instances.thread_count();
        let replaced: Vec<_> = stores.iter().map(|(name, _)| &**name).collect();
        let opened = config.keyvalue.open(&replaced, threads, &resolver)?;
        let stores = stores.into_iter().fold(opened, |all, (name, store)| all.with(&name, store));
        Ok(Self { outbound, stores, traces })
    }

    fn tracer(&self) -> Option<Arc<Tracer>> {
        self.traces.as_ref().map(Traces::tracer)
    }
}

fn outbound_settings(config: &Config, manifest: &Manifest) -> Result<OutboundSettings, StartError> {
    // Lower-case names take precedence, as in curl.
    let either = |lower: &str, upper: &str| variable(lower).or_else(|| variable(upper)).unwrap_or_default();
    let proxies = Proxies::new(
        &either("https_proxy", "HTTPS_PROXY"),
        // With CGI, a client's `Proxy` header could set `HTTP_PROXY`. This host does not use CGI.
        &either("http_proxy", "HTTP_PROXY"),
        &either("no_proxy", "NO_PROXY"),
    )?;
    let outbound = &config.application.outbound;
    let max_open = descriptors::for_outbound(config, descriptors::of_mounts(config, manifest));
    let limits = outbound.limits(max_open);
    let extra_ca_file = outbound.outbound_ca_file.clone();
    Ok(OutboundSettings { limits, proxies, extra_ca_file, ..OutboundSettings::default() })
}

/// The error for the setting that names a CA file.
fn ca_file(name: &'static str) -> impl Fn(RootsError) -> InvalidSetting {
    move |error| InvalidSetting { name, reason: error.to_string() }
}

/// The exporter of spans, if tracing is on. It uses the same proxies and trusted certificates as guests' requests.
fn traces(
    config: &Config,
    manifest: &Manifest,
    resolver: &Arc<dyn Resolve>,
) -> Result<Option<Traces>, StartError> {
    let Some(settings) = trace::Settings::read(&manifest.name, &variable)? else { return Ok(None) };
    let mut outbound = outbound_settings(config, manifest)?;
    let named = match &settings.ca_file {
        Some(file) => {
            outbound.extra_ca_file = Some(file.clone());
            "OTEL_EXPORTER_OTLP_CERTIFICATE"
        }
        None => "--outbound-ca-file",
    };
    let outbound = Outbound::new(outbound).map_err(ca_file(named))?.with_resolver(resolver.clone());
    let client = Direct::new(Arc::new(outbound), settings.needs_http2());
    Ok(Some(Traces::new(settings, Box::new(client))))
}

/// The state that all serving threads share.
fn shared(
    config: &Config,
    log: &Log,
    metrics: &HostMetrics,
    tls: Option<Arc<Tls>>,
    tracer: Option<Arc<Tracer>>,
) -> Arc<Shared> {
    Shared::new(
        &config.server,
        &config.application.requests,
        metrics.connections.clone(),
        metrics.components.unrouted(),
        AccessLog::new(log, config.log.access_log == Switch::On),
        tls,
        tracer,
    )
}

/// Loads the first generation. The first component that must be compiled starts a temporary admin server on
/// `listener`, with the state that `admin` creates. The server ends when all components are ready.
fn first_generation(
    loader: &Loader,
    manifest: Manifest,
    binaries: &[Binary],
    listener: &TcpListener,
    admin: impl Fn() -> Admin,
) -> Result<Arc<Generation>, LoadError> {
    let starting = OnceLock::new();
    let compiles = || {
        starting.get_or_init(|| Starting::answer(listener.try_clone().ok()?, Arc::new(admin())));
    };
    loader.load(manifest, binaries, None, &compiles)
}

/// Starts the serving threads. Each counts its operations on key-value stores in a set of its own. Reading the metrics
/// adds the sets up.
fn start_workers(
    shared: &Arc<Shared>,
    generation: &Arc<Generation>,
    config: &Arc<ApplicationConfig>,
    host: &Config,
    engine: &Engine,
    backends: &Backends,
) -> Result<(Vec<Arc<Worker>>, InterfaceMetrics), StartError> {
    let threads = config.instances.thread_count();
    let mut interfaces = InterfaceMetrics {
        keyvalue: Vec::new(),
        stores: backends.stores.clone(),
        outbound: Some(backends.outbound.clone()),
        tracer: backends.tracer(),
    };
    let workers = (0..threads).map(|at| {
        let stats = Arc::new(keyvalue::Stats::default());
        interfaces.keyvalue.push(stats.clone());
        server::start(shared.clone(), generation, |runtime| ThreadContext {
            at: (at, threads),
            config: config.clone(),
            engine: engine.clone(),
            stores: backends.stores.on(&runtime),
            runtime,
            keyvalue_stats: stats,
            outbound: backends.outbound.clone(),
            current: Arc::default(),
            tracer: backends.tracer(),
            max_request_body: host.server.max_request_body.get(),
        })
    });
    let workers = workers.collect::<Result<_, _>>()?;
    Ok((workers, interfaces))
}
