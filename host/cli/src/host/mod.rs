//! Runs the host, and stops its subsystems in order.

mod builder;
mod drain;
mod error;
mod starting;

pub use builder::Builder;
pub use error::StartError;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Runtime, time::timeout};

use wasi_http_host_cache::Cache;
use wasi_http_host_keyvalue::Stores;
use wasi_http_host_outbound::Outbound;
use wasi_http_host_server::{Listener, Shared, Tls, Worker};
use wasi_http_host_telemetry::{Log, trace::Traces};

use crate::{
    admin::Admin,
    config::Config,
    descriptors,
    metrics::{HostMetrics, InterfaceMetrics},
    reload::Reloader,
    shutdown::Shutdown,
};

/// How long the host waits for the first instances before it tries again. Each attempt waits twice as long, up to
/// half a minute.
const FIRST_INSTANCE_PAUSE: Duration = Duration::from_secs(1);
/// How long writing the last log lines may take.
const FLUSH: Duration = Duration::from_secs(1);

/// A host that has bound its addresses and loaded its application.
pub struct Host {
    config: Arc<Config>,
    files_of_mounts: u64,
    control: Runtime,
    listener: TcpListener,
    admin_listener: TcpListener,
    address: SocketAddr,
    admin_address: SocketAddr,
    shared: Arc<Shared>,
    response_cache: Option<Arc<Cache>>,
    workers: Vec<Arc<Worker>>,
    metrics: Arc<HostMetrics>,
    interfaces: InterfaceMetrics,
    outbound: Arc<Outbound>,
    stores: Stores,
    reloader: Reloader,
    log: Log,
    traces: Option<Traces>,
}

impl Host {
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
            files_of_mounts,
            control,
            listener,
            admin_listener,
            shared,
            response_cache,
            workers,
            metrics,
            interfaces,
            outbound,
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
                response_cache,
                ready_path: config.ready_path.clone(),
                metrics_path: config.component_metrics.clone(),
                warm: false.into(),
                draining: false.into(),
            });
            let connections = descriptors::bounded(&config, files_of_mounts);
            let listener =
                Listener::new(listener, workers.clone(), connections, metrics.connections.clone())?;
            tracing::info!(listener = "main", address = %address, "listening");
            tracing::info!(listener = "admin", address = %admin_address, "listening");
            let serving_admin = tokio::spawn(admin.clone().serve(admin_listener));
            let exporting = traces.map(Traces::export);
            let warm = tokio::spawn(warm_up(workers.clone(), admin.clone()));
            let reloading = tokio::spawn(reloader.run());
            watch_certificates(shared.tls.clone(), outbound);
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

/// Reads the files of certificates again when they change. Runs until the runtime ends, because a draining host still makes
/// TLS handshakes and sends requests of components.
fn watch_certificates(tls: Option<Arc<Tls>>, outbound: Arc<Outbound>) {
    if let Some(tls) = tls {
        tokio::spawn(tls.watch());
    }
    tokio::spawn(outbound.watch());
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
