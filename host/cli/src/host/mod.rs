//! Builds the host from its subsystems, runs it, and stops the subsystems in order.

mod drain;
mod error;
mod starting;

pub use error::StartError;

use std::{
    io,
    net::SocketAddr,
    panic::resume_unwind,
    sync::{Arc, OnceLock, atomic::Ordering},
    thread,
    time::Duration,
};

use starting::Starting;
use tokio::{
    runtime::{Builder as RuntimeBuilder, Runtime},
    time::timeout,
};

use wasi_http_host_application::{self as application, Loader, Resources, ThreadContext};
use wasi_http_host_egress::{Proxies, Resolve, SystemResolver};
use wasi_http_host_keyvalue::{self as keyvalue, RedisConfig, Store, Stores};
use wasi_http_host_manifest::Manifest;
use wasi_http_host_outbound::{Direct, Outbound, OutboundSettings};
use wasi_http_host_runtime::engine;
use wasi_http_host_server::{self as server, Listener, Shared, Tls, Worker};
use wasi_http_host_telemetry::{
    AccessLog, Log, Switch,
    trace::{self, Traces},
};

use crate::{
    admin::Admin,
    config::Config,
    descriptors,
    metrics::{HostMetrics, InterfaceMetrics},
    reload::{FileWatch, Hangup, Reloader},
    shutdown::Shutdown,
};

/// How long the host waits for the first instances before it tries again. Each attempt waits twice as long, up to
/// half a minute.
const FIRST_INSTANCE_PAUSE: Duration = Duration::from_secs(1);
/// How long writing the last log lines may take.
const FLUSH: Duration = Duration::from_secs(1);

/// Builds a host. An embedder can add key-value stores first.
pub struct Builder {
    config: Config,
    stores: Vec<(String, Arc<dyn Store>)>,
}

/// A host that has bound its addresses and loaded its application.
pub struct Host {
    config: Arc<Config>,
    control: Runtime,
    listener: std::net::TcpListener,
    admin_listener: std::net::TcpListener,
    address: SocketAddr,
    admin_address: SocketAddr,
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
    metrics: Arc<HostMetrics>,
    interfaces: InterfaceMetrics,
    stores: Stores,
    reloader: Reloader,
    log: Log,
    traces: Option<Traces>,
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
        RedisConfig::check_renamed(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))?;
        let config = Arc::new(config);
        let log = Log::new(&config.log)?;
        log.install();
        let address = config.main_listener(std::env::var("PORT").ok().as_deref())?;
        let tls = Tls::new(&config.server.tls)?;
        // Bind first, so that an address in use is reported before anything is compiled.
        let listener = bind(address)?;
        let admin_listener = bind(config.admin_listen)?;

        let hangup = Hangup::listen();
        let mut watch = config.watch.then(|| FileWatch::manifest(&config.application.app));
        let manifest = application::manifest(&config.application)?;
        if let Some(watch) = &mut watch {
            watch.components(&manifest);
        }
        // Creating the pool of instances takes a quarter of a start, so it runs at the same time as other work.
        let engine = thread::Builder::new().name("engine".to_owned()).spawn({
            let instances = &config.application.instances;
            let (max_memory, capacity) =
                (instances.max_memory.as_usize(), application::pool_capacity(instances, &manifest)?);
            move || engine::new(max_memory, capacity)
        })?;
        let binaries = application::binaries(&manifest)?;
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
        let traces = traces(&config, &manifest, &resolver)?;
        let tracer = traces.as_ref().map(Traces::tracer);
        let outbound = Arc::new(Outbound::new(outbound_settings(&config)?)?.with_resolver(resolver.clone()));
        let threads = config.application.instances.thread_count();
        let replaced: Vec<_> = stores.iter().map(|(name, _)| &**name).collect();
        let opened = config.keyvalue.open(&replaced, threads, &resolver)?;
        let stores = stores.into_iter().fold(opened, |all, (name, store)| all.with(&name, store));
        let metrics = Arc::new(HostMetrics::default());
        let access_log = AccessLog::new(&log, config.log.access_log == Switch::On);
        let shared = Shared::new(
            &config.server,
            &config.application.requests,
            metrics.connections.clone(),
            metrics.components.unrouted(),
            access_log,
            tls,
            tracer.clone(),
        );
        let engine = engine.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let application_config = Arc::new(config.application.clone());
        let loader = Loader::new(Resources {
            config: application_config.clone(),
            engine: engine.clone(),
            stores: stores.clone(),
            granted: config.keyvalue.granted()?,
            metrics: metrics.components.clone(),
        });
        let loader = Arc::new(loader);
        let generation = {
            // The first component that must be compiled starts the temporary admin server. It ends when all
            // components are ready.
            let starting = OnceLock::new();
            let begin = || {
                starting.get_or_init(|| {
                    let admin = Admin::starting(metrics.clone(), stores.clone(), log.clone());
                    Starting::answer(admin_listener.try_clone().ok()?, Arc::new(admin))
                });
            };
            loader.load(manifest, &binaries, None, &begin)?
        };
        // One set for each thread. Reading the metrics adds the sets up.
        let mut keyvalue_stats = Vec::new();
        let workers = (0..threads).map(|at| {
            let stats = Arc::new(keyvalue::Stats::default());
            keyvalue_stats.push(stats.clone());
            server::start(shared.clone(), &generation, |runtime| ThreadContext {
                at: (at, threads),
                config: application_config.clone(),
                engine: engine.clone(),
                stores: stores.on(&runtime),
                runtime,
                keyvalue_stats: stats,
                outbound: outbound.clone(),
                current: Arc::default(),
                tracer: tracer.clone(),
            })
        });
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let reloader = Reloader::new(loader, generation, workers.clone(), metrics.clone(), watch, hangup);
        let interfaces = InterfaceMetrics { keyvalue: keyvalue_stats, stores: stores.clone(), tracer };
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
            stores,
            reloader,
            log,
            traces,
        })
    }
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    server::bind(address).map_err(|cause| StartError::Listen { address, cause })
}

fn outbound_settings(config: &Config) -> Result<OutboundSettings, StartError> {
    // Lower-case names take precedence, as in curl.
    let variable =
        |lower: &str, upper: &str| std::env::var(lower).or_else(|_| std::env::var(upper)).unwrap_or_default();
    let proxies = Proxies::new(
        &variable("https_proxy", "HTTPS_PROXY"),
        // With CGI, a client's `Proxy` header could set `HTTP_PROXY`. This host does not use CGI.
        &variable("http_proxy", "HTTP_PROXY"),
        &variable("no_proxy", "NO_PROXY"),
    )?;
    let outbound = &config.application.outbound;
    let max_open = descriptors::for_outbound(
        config.server.max_connections.get(),
        outbound.outbound_max_concurrency.get(),
    );
    let limits = outbound.limits(max_open);
    Ok(OutboundSettings { limits, proxies, extra_ca_file: outbound.outbound_ca_file.clone() })
}

/// The exporter of spans, if tracing is on. It uses the same proxies and trusted certificates as guests' requests.
fn traces(
    config: &Config,
    manifest: &Manifest,
    resolver: &Arc<dyn Resolve>,
) -> Result<Option<Traces>, StartError> {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(settings) = trace::Settings::read(&manifest.name, &variable)? else { return Ok(None) };
    let mut outbound = outbound_settings(config)?;
    outbound.extra_ca_file = settings.ca_file.clone().or(outbound.extra_ca_file);
    let outbound = Outbound::new(outbound)?.with_resolver(resolver.clone());
    let client = Direct::new(Arc::new(outbound), settings.needs_http2());
    Ok(Some(Traces::new(settings, Box::new(client))))
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

    /// The address for requests. If the configured port is 0, this has the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// The runtime cannot register the listeners.
    pub fn run(self, shutdown: Shutdown) -> io::Result<()> {
        let Self {
            config,
            control,
            listener,
            admin_listener,
            shared,
            workers,
            metrics,
            interfaces,
            stores,
            reloader,
            log,
            traces,
            ..
        } = self;
        let (address, admin_address) = (self.address, self.admin_address);
        let result = control.block_on(async {
            let stop = shutdown.requested();
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
            let connections = descriptors::bounded(
                config.server.max_connections.get(),
                config.application.outbound.outbound_max_concurrency.get(),
            );
            let listener =
                Listener::new(listener, workers.clone(), connections, metrics.connections.clone())?;
            tracing::info!(listener = "main", address = %address, "listening");
            tracing::info!(listener = "admin", address = %admin_address, "listening");
            let serving_admin = tokio::spawn(admin.clone().serve(admin_listener));
            let exporting = traces.map(Traces::export);
            let warm = tokio::spawn(warm_up(workers.clone(), admin.clone()));
            let reloading = tokio::spawn(reloader.run());
            // Runs until the runtime ends, because a draining host still makes TLS handshakes.
            if let Some(tls) = shared.tls.clone() {
                tokio::spawn(tls.watch());
            }
            tokio::pin!(stop);
            tokio::select! {
                never = listener.accept() => never,
                () = stop.as_mut() => {}
            }
            warm.abort();
            reloading.abort();
            admin.draining.store(true, Ordering::Release);
            drain::drain(&config, listener, &shared, &workers, exporting).await;
            serving_admin.abort();
            Ok(())
        });
        stores.close();
        log.sink.flush(FLUSH);
        // Do not wait for compilations of a reload that is no longer needed.
        control.shutdown_background();
        result
    }
}

/// Creates a first instance of each component on each thread, so that no request waits for one. Then marks the host
/// as ready. Failed attempts are repeated, because nothing else would: a host that is not ready gets no requests.
async fn warm_up(workers: Vec<Arc<Worker>>, admin: Arc<Admin>) {
    let Some(first) = workers.first() else { return };
    for attempt in 0u32.. {
        for worker in &workers {
            for served in worker.application().served() {
                served.dispatch.warm_up();
            }
        }
        let application = first.application();
        let made = async {
            for served in application.served() {
                served.dispatch.first_instance().await;
            }
        };
        let pause = FIRST_INSTANCE_PAUSE.saturating_mul(1 << attempt.min(5));
        if timeout(pause, made).await.is_ok() {
            break;
        }
    }
    admin.warm.store(true, Ordering::Release);
    tracing::info!("ready");
}
