//! The host as a whole: put together, run, and taken down in order.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder as RuntimeBuilder, Handle, Runtime},
    time::{sleep, timeout, timeout_at},
};
use wasmtime::Engine;

use crate::{
    admin::Admin,
    app::{App, AppError},
    component::{self, ComponentError, Inspection, Kind, Linked},
    config::{Config, Invalid, Switch},
    descriptors,
    engine::{self, Cache, EngineError},
    guest::Template,
    keyvalue::{self, MemoryStore, RedisStore, Store, Stores, UnknownStore},
    manifest::Mount,
    outbound::{
        self, InvalidProxy, Outbound, OutboundSettings, Policy, Proxies, Resolve, RootsError, SystemResolver,
    },
    server::{self, Listener, Shared, Tls, Worker},
    service::{self, Dispatch},
    shutdown::Shutdown,
    telemetry::{AccessLog, GuestOutput, Interfaces, Log, Metrics},
};

/// How long clients with an idle connection get to send a request that is on its way, before it is closed.
const LINGER: Duration = Duration::from_millis(500);
/// How long the last log lines may take.
const FLUSH: Duration = Duration::from_secs(1);
/// Requests that an instance of a service serves before it is replaced.
const SERVICE_REQUESTS: usize = 10_000;

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting's value cannot be.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The application cannot be read.
    #[error(transparent)]
    App(#[from] AppError),
    /// It asks for a store that is not there.
    #[error(transparent)]
    Store(#[from] UnknownStore),
    /// Its component is none that can be served.
    #[error("component {name:?}: {cause}")]
    Component {
        /// Its name.
        name: String,
        /// What is wrong with it.
        cause: ComponentError,
    },
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// The certificates to trust.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A listener.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// The operating system.
    #[error("the system refused a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

/// A host in the making: stores may be added before it is built.
pub struct Builder {
    config: Config,
    stores: Vec<(String, Arc<dyn Store>)>,
}

/// A host that is bound and loaded.
pub struct Host {
    config: Config,
    control: Runtime,
    listener: std::net::TcpListener,
    admin_listener: std::net::TcpListener,
    address: SocketAddr,
    admin_address: SocketAddr,
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
    metrics: Arc<Metrics>,
    interfaces: Interfaces,
    log: Log,
}

impl Builder {
    /// Adds a key-value store, or puts one in the place of the one of that name; the manifest grants it by name.
    #[must_use]
    pub fn store(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.stores.push((name.to_owned(), store));
        self
    }

    /// Reads, compiles, links and binds all that the configuration names.
    ///
    /// # Errors
    /// Says which part failed, and names the setting, file or address.
    pub fn build(self) -> Result<Host, StartError> {
        let Self { config, stores } = self;
        config.validate()?;
        let log = Log::new(&config)?;
        log.install();
        let address = config.main_listener(std::env::var("PORT").ok().as_deref())?;
        let tls = Tls::new(&config.tls)?;
        // Bound first: a taken address is told before anything is compiled.
        let listener = bind(address)?;
        let admin_listener = bind(config.admin_listen)?;

        let app = App::load(&config)?;
        let engine = engine::new(&config)?;
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
        let memory = Arc::new(MemoryStore::new(config.keyvalue_max_bytes.get()));
        let in_memory = memory.clone();
        let mut stores =
            stores.into_iter().fold(Stores::new(memory), |all, (name, store)| all.with(&name, store));
        // Whoever gives the component a store by a flag means it to have it, whatever its manifest says.
        let mut granted = app.manifest.component.key_value_stores.clone();
        let mut remote = Vec::new();
        for (name, address) in config.remote_stores()? {
            let store = RedisStore::new(&name, address, config.redis_settings(), resolver.clone())?;
            remote.push(store.stats());
            stores = stores.with_remote(&name, Arc::new(store));
            if !granted.contains(&name) {
                granted.push(name);
            }
        }
        let access = stores.grant(&granted)?;
        let linked = load(&engine, &config, &app, access.has_remote())?;
        let resolved = app.resolve(&config)?;
        let metrics = Metrics::new(app.name());
        let output = GuestOutput::new(app.name(), metrics.clone());
        let list = resolved.allowed_outbound_hosts;
        for entry in list.unsupported() {
            tracing::warn!(entry, "allowed_outbound_hosts: not supported here, and allows nothing");
        }
        let policy = Arc::new(Policy::new(list, config.outbound_allow_cidr.clone()));
        let outbound_stats = Arc::new(outbound::Stats::new(&policy));
        let outbound = Arc::new(Outbound::new(outbound_settings(&config)?)?.with_resolver(resolver));
        let mounts: Arc<[Mount]> = app.manifest.component.files.clone().into();
        // A set a thread, added up when they are read.
        let mut keyvalue_stats = Vec::new();
        let template = |outbound, keyvalue, keyvalue_stats| Template {
            max_memory: config.max_memory.as_usize(),
            environment: app.manifest.component.environment.clone().into_iter().collect(),
            mounts: mounts.clone(),
            settings: resolved.settings.clone(),
            keyvalue,
            keyvalue_stats,
            outbound,
            output: output.clone(),
            metrics: metrics.clone(),
        };
        let access_log = AccessLog::new(&log, config.access_log == Switch::On, app.name());
        let shared = Shared::new(&config, app.manifest.routes.clone(), metrics.clone(), access_log, tls);
        let workers =
            workers(&config, &engine, &Arc::new(linked), &shared, access.has_remote(), |runtime| {
                let stats = Arc::new(keyvalue::Stats::default());
                keyvalue_stats.push(stats.clone());
                let client = outbound::Client::new(outbound.clone(), policy.clone(), outbound_stats.clone());
                template(client, access.on(runtime), stats)
            })?;
        let interfaces =
            Interfaces { keyvalue: keyvalue_stats, remote, memory: in_memory, outbound: outbound_stats };
        let control = RuntimeBuilder::new_current_thread().enable_all().build()?;
        Ok(Host {
            address: listener.local_addr()?,
            admin_address: admin_listener.local_addr()?,
            config,
            control,
            listener,
            admin_listener,
            shared,
            workers,
            metrics,
            interfaces,
            log,
        })
    }
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    server::bind(address).map_err(|cause| StartError::Listen { address, cause })
}

fn load(engine: &Engine, config: &Config, app: &App, waiting: bool) -> Result<Linked, StartError> {
    let failed = |cause| StartError::Component { name: app.name().to_owned(), cause };
    component::check_binary(&app.wasm).map_err(failed)?;
    let compiled =
        cache(config).load(engine, &app.wasm).map_err(|error| failed(ComponentError::Invalid(error)))?;
    Linked::new(engine, &compiled.component, waiting).map_err(failed)
}

fn cache(config: &Config) -> Cache {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let dir =
        config.cache_dir.clone().or_else(|| Cache::default_dir(variable("XDG_CACHE_HOME"), variable("HOME")));
    match dir {
        _ if config.no_cache => Cache::none(),
        Some(dir) => Cache::at(dir),
        None => {
            tracing::warn!(
                "no home directory and no --cache-dir: compiled code is not kept, each start compiles"
            );
            Cache::none()
        }
    }
}

fn outbound_settings(config: &Config) -> Result<OutboundSettings, StartError> {
    // As curl does: the lower-case names count first.
    let variable =
        |lower: &str, upper: &str| std::env::var(lower).or_else(|_| std::env::var(upper)).unwrap_or_default();
    let proxies = Proxies::new(
        &variable("https_proxy", "HTTPS_PROXY"),
        // `HTTP_PROXY` could come from a client's `Proxy` header where CGI is at play; here it cannot.
        &variable("http_proxy", "HTTP_PROXY"),
        &variable("no_proxy", "NO_PROXY"),
    )?;
    let limits = outbound::Limits {
        connect: config.outbound_connect_timeout.get(),
        first_byte: config.outbound_first_byte_timeout.get(),
        total: config.outbound_total_timeout.get(),
        max_response_body: config.max_outbound_response_body.get(),
        max_concurrent: config.outbound_max_concurrency.get(),
        ..outbound::Limits::default()
    };
    Ok(OutboundSettings { limits, proxies, extra_ca_file: config.outbound_ca_file.clone() })
}

fn workers(
    config: &Config,
    engine: &Engine,
    linked: &Arc<Linked>,
    shared: &Arc<Shared>,
    waiting: bool,
    mut template: impl FnMut(&Handle) -> Template,
) -> io::Result<Vec<Arc<Worker>>> {
    let instances = usize::try_from(config.max_instances.get()).unwrap_or(usize::MAX);
    let threads = config.thread_count();
    (0..threads)
        .map(|at| {
            // Shared out evenly, the remainder to the first.
            let share = instances / threads + usize::from(at < instances % threads);
            let limits = limits(config, share, linked.kind(), waiting);
            Worker::start(at, shared.clone(), |runtime, metrics| {
                let (engine, linked) = (engine.clone(), linked.clone());
                let template = template(&runtime);
                Dispatch::new(engine, linked, template, limits, shared.metrics.clone(), metrics, runtime)
            })
        })
        .collect()
}

fn limits(config: &Config, instances: usize, kind: Kind, waiting: bool) -> service::Limits {
    let (concurrency, requests) = match kind {
        Kind::Service => (config.instance_max_concurrency.get(), SERVICE_REQUESTS),
        // A call of `wasi:http@0.2` occupies its instance until it returns, and its tool chains count on a fresh one for
        // each: StarlingMonkey answers once in its life, others keep what a request left behind.
        Kind::Proxy => (1, 1),
    };
    service::Limits {
        instances,
        concurrency,
        at_once: if waiting { 1 } else { concurrency },
        max_calls: config.instance_max_requests.map_or(requests, NonZeroUsize::get),
        idle: config.instance_idle_timeout.get(),
        background: config.background_timeout.get(),
        request: config.request_timeout.get(),
        response: config.response_timeout.get(),
    }
}

impl Host {
    /// A host with these settings, not yet built.
    pub fn builder(config: Config) -> Builder {
        Builder { config, stores: Vec::new() }
    }

    /// A host with these settings.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(config: Config) -> Result<Self, StartError> {
        Self::builder(config).build()
    }

    /// Where requests are answered: with port 0 asked for, the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where probes are answered.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until `shutdown`, then finishes what is running.
    ///
    /// # Errors
    /// When the system refuses to watch the listeners or signals.
    pub fn run(self, shutdown: Shutdown) -> io::Result<()> {
        let Self {
            config, control, listener, admin_listener, shared, workers, metrics, interfaces, log, ..
        } = self;
        let (address, admin_address) = (self.address, self.admin_address);
        let result = control.block_on(async {
            let stop = shutdown.requested()?;
            let admin = Arc::new(Admin {
                workers: workers.clone(),
                metrics: metrics.clone(),
                interfaces,
                log: log.clone(),
                tls: shared.tls.clone(),
                ready_path: config.ready_path.clone(),
                metrics_path: config.component_metrics.clone(),
                warm: false.into(),
                draining: false.into(),
            });
            let connections = descriptors::bounded(&config);
            let listener = Listener::new(listener, workers.clone(), connections, metrics)?;
            tracing::info!(listener = "main", address = %address, "listening");
            tracing::info!(listener = "admin", address = %admin_address, "listening");
            let serving_admin = tokio::spawn(admin.clone().serve(admin_listener));
            let warm = tokio::spawn(warm_up(workers.clone(), admin.clone()));
            // Until the runtime goes: a drained host still makes handshakes.
            if let Some(tls) = shared.tls.clone() {
                tokio::spawn(tls.watch());
            }
            tokio::pin!(stop);
            tokio::select! {
                never = listener.accept() => never,
                () = stop.as_mut() => {}
            }
            warm.abort();
            admin.draining.store(true, Ordering::Release);
            drain(&config, listener, &shared, &workers).await;
            serving_admin.abort();
            Ok(())
        });
        log.sink.flush(FLUSH);
        result
    }
}

/// Makes a first instance a thread, so that no request waits for one, and says so.
async fn warm_up(workers: Vec<Arc<Worker>>, admin: Arc<Admin>) {
    for worker in &workers {
        worker.dispatch.warm_up();
    }
    let Some(first) = workers.first() else { return };
    first.dispatch.first_instance().await;
    admin.warm.store(true, Ordering::Release);
    tracing::info!("ready");
}

/// Stops accepting, and waits for requests, connections and background tasks, each within its limit.
async fn drain(config: &Config, listener: Listener, shared: &Shared, workers: &[Arc<Worker>]) {
    let grace = config.shutdown_grace.get();
    // Others still send here until they have seen that this host is not ready.
    let _ = timeout(grace, listener.accept()).await;
    shared.close();
    listener.sweep();
    drop(listener);
    tracing::info!("no longer accepting");

    let deadline = tokio::time::Instant::now() + config.drain_timeout.get();
    // Each response is its connection's last now. A request that crossed with one, or that an idle client is just
    // sending, is answered: nobody's connection is closed on the first occasion.
    let lingered = timeout_at(deadline.min(tokio::time::Instant::now() + LINGER), shared.all_closed()).await;
    shared.hang_up();
    if lingered.is_err() && timeout_at(deadline, shared.all_closed()).await.is_err() {
        tracing::warn!("--drain-timeout is over: connections are cut off");
    }
    for worker in workers {
        worker.dispatch.drain();
    }
    let ended = async {
        for worker in workers {
            worker.dispatch.drained().await;
        }
    };
    if timeout_at(deadline, ended).await.is_err() {
        tracing::warn!("--drain-timeout is over: background tasks are cut off");
    }
    tracing::info!("stopped");
    // The log's last lines are on their way while the runtime unwinds.
    sleep(Duration::ZERO).await;
}

/// What `compile` did.
#[derive(Debug)]
pub struct CompileReport {
    /// The file that holds the code; none without a cache.
    pub file: Option<PathBuf>,
    /// It was there already.
    pub from_cache: bool,
    /// How long it took.
    pub duration: Duration,
}

/// Compiles what `config` names, so that a later start finds the code in the cache.
///
/// # Errors
/// As [`Builder::build`], for the parts that are needed.
pub fn compile(config: &Config) -> Result<CompileReport, StartError> {
    let started = Instant::now();
    let app = App::load(config)?;
    let failed = |cause| StartError::Component { name: app.name().to_owned(), cause };
    component::check_binary(&app.wasm).map_err(failed)?;
    let engine = engine::new(config)?;
    let compiled =
        cache(config).load(&engine, &app.wasm).map_err(|error| failed(ComponentError::Invalid(error)))?;
    Linked::new(&engine, &compiled.component, false).map_err(failed)?;
    Ok(CompileReport { file: compiled.file, from_cache: compiled.from_cache, duration: started.elapsed() })
}

/// What the component that `config` names imports and exports.
///
/// # Errors
/// As [`compile`], but for what the component lacks or needs, which the inspection itself tells.
pub fn inspect(config: &Config) -> Result<Inspection, StartError> {
    let app = App::load(config)?;
    let failed = |cause| StartError::Component { name: app.name().to_owned(), cause };
    component::check_binary(&app.wasm).map_err(failed)?;
    let engine = engine::new(config)?;
    let compiled =
        cache(config).load(&engine, &app.wasm).map_err(|error| failed(ComponentError::Invalid(error)))?;
    Inspection::new(&engine, &compiled.component).map_err(failed)
}
