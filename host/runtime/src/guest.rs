//! The data of one instance: its WASI context, its limits, and its access to the host.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline, component::Linker};
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use wasi_http_host_keyvalue::{Access, Stats as KeyValueStats};
use wasi_http_host_manifest::{Mount, settings::Snapshot};
use wasi_http_host_outbound as outbound;
use wasi_http_host_telemetry::trace::Tracer;

use super::{
    ComponentMetrics,
    cause::Causes,
    engine::CORE_INSTANCES_EACH,
    footprint::Footprint,
    guest_output::{GuestOutput, GuestStream},
    hooks::{Hooks, Siblings},
    host_bytes::{self, Counted, EarlyBytes, HostBytes, InFlightBytes, MAX_FIELDS_BYTES},
    keyvalue,
    open_files::OpenFiles,
    settings,
    traced::TracedTasks,
    turns::Turns,
};

/// The most elements of all tables together.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;
/// The most handles (fields, requests, responses, …) that a guest may hold at the same time. The objects behind the
/// handles use the host's memory, which the guest's memory limit does not include: see [`HostBytes`].
const MAX_RESOURCES: usize = 1 << 12;
/// The most handles of the component model: those of resources, streams, futures, tasks and waitable sets. Each takes
/// about 24 bytes of the host.
const MAX_COMPONENT_HANDLES: usize = 1 << 15;
/// The most tasks, threads, ends of streams and futures, and waitable sets. Each takes a few hundred bytes of the host.
/// A request of a service has about ten of them.
const MAX_CONCURRENCY_ENTRIES: usize = 1 << 15;
/// The most random bytes that one call returns. Generating them blocks the thread.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// What every instance of a component starts with, on one thread.
#[derive(Clone)]
pub struct Template {
    /// The most bytes of all linear memories together.
    pub max_memory: usize,
    /// The component's environment variables.
    pub environment: Arc<[(String, String)]>,
    /// Directories that the component can read.
    pub mounts: Arc<[Mount]>,
    /// The files that the component's instances have open, on all threads.
    pub files: Arc<OpenFiles>,
    /// The values that `wasi:config` returns.
    pub settings: Arc<Snapshot>,
    /// The stores that the component may open.
    pub keyvalue: Access,
    /// Counts the component's operations on stores, on this thread.
    pub keyvalue_stats: Arc<KeyValueStats>,
    /// The outbound client. Its connections belong to the thread.
    pub outbound: outbound::Client,
    /// Receives what the component prints.
    pub output: Arc<GuestOutput>,
    /// The component's metrics.
    pub metrics: Arc<ComponentMetrics>,
    /// Sends requests to other components of the application. `None` if the component may not.
    pub siblings: Option<Arc<dyn Siblings>>,
    /// The component's name in traces.
    pub component: Arc<str>,
    /// `None` if tracing is off.
    pub tracer: Option<Arc<Tracer>>,
}

/// The data of an instance's store.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    files: Arc<OpenFiles>,
    http: WasiHttpCtx,
    hooks: Hooks,
    settings: settings::Client,
    keyvalue: keyvalue::Client,
    host_bytes: HostBytes,
    limits: Limits,
    causes: Arc<Causes>,
    traced: Option<Arc<TracedTasks>>,
}

impl Template {
    /// WASI for a new instance: mounts and output, but no network.
    fn wasi(&self) -> WasiCtx {
        let mut wasi = WasiCtx::builder();
        wasi.allow_blocking_current_thread(false)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM_BYTES)
            .envs(&self.environment)
            .stdout(self.output.stream(GuestStream::Stdout))
            .stderr(self.output.stream(GuestStream::Stderr));
        for Mount { source, destination, .. } in &*self.mounts {
            // If the directory is gone since the start, the guest finds no directory and reports the error itself.
            if let Err(error) = wasi.preopened_dir(source, destination, FsPerms::ReadOnly) {
                tracing::error!(directory = %source.display(), %error, "a directory cannot be mounted");
            }
        }
        wasi.build()
    }
}

impl Guest {
    /// A store for a new instance of a component with this footprint. Set `opens_stores` if the component may hand over
    /// values of a key-value store. `on_wait` is called when the instance begins or stops blocking on a remote store.
    /// `turns` are those of the component on this thread. `idle` becomes false when the guest is interrupted.
    pub(crate) fn store(
        engine: &Engine,
        template: &Template,
        footprint: Footprint,
        opens_stores: bool,
        on_wait: keyvalue::OnWait,
        turns: Arc<Turns>,
        idle: Arc<AtomicBool>,
    ) -> Store<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        let causes = Arc::<Causes>::default();
        let host_bytes = HostBytes::new(template.max_memory);
        let traced = template.tracer.as_ref();
        let traced =
            traced.map(|tracer| Arc::new(TracedTasks::new(tracer.clone(), template.component.clone())));
        let guest = Self {
            causes: causes.clone(),
            table,
            wasi: template.wasi(),
            files: template.files.clone(),
            http,
            hooks: Hooks {
                client: template.outbound.clone(),
                siblings: template.siblings.clone(),
                causes,
                traced: traced.clone(),
                in_flight: host_bytes.in_flight().clone(),
                response_chunks: false,
            },
            settings: settings::Client::new(template.settings.clone()),
            keyvalue: keyvalue::Client::new(template.keyvalue.clone(), template.keyvalue_stats.clone())
                .at_most(host_bytes::budget(template.max_memory))
                .on_wait(on_wait)
                .traced(traced.clone()),
            host_bytes,
            limits: Limits {
                max_memory: template.max_memory,
                memory: 0,
                table_elements: 0,
                footprint,
                metrics: template.metrics.clone(),
            },
            traced,
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_hostcall_fuel(host_bytes::call_bytes(template.max_memory, opens_stores));
        store.set_max_component_handles(MAX_COMPONENT_HANDLES);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(MAX_CONCURRENCY_ENTRIES);
        }
        // Each epoch tick is a yield, so that other tasks of the thread run and the watchdog checks its limits.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            idle.store(false, Relaxed);
            Ok(UpdateDeadline::YieldCustom(1, Turns::next(turns.clone())))
        });
        store
    }

    /// The requests that the instance serves and that may cause others.
    pub(crate) fn causes(&self) -> &Arc<Causes> {
        &self.causes
    }

    /// The spans of the requests that the instance serves. `None` if tracing is off.
    pub(crate) fn traced(&self) -> Option<&Arc<TracedTasks>> {
        self.traced.as_ref()
    }

    /// Charges bytes that the instance is about to keep in the host.
    ///
    /// # Errors
    /// The instance keeps more than its budget. The call must trap.
    pub(crate) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let Self { host_bytes, table, keyvalue, limits, .. } = self;
        host_bytes.charge(bytes, table, || keyvalue.kept_bytes()).map_err(|error| {
            limits.metrics.handle_memory_refused.inc();
            wasmtime::Error::from(error)
        })
    }

    /// Charges bytes that a call keeps, and counts them until the result is dropped.
    ///
    /// # Errors
    /// The instance keeps more than its budget. The call must trap.
    pub(crate) fn keep_in_flight(&mut self, bytes: usize) -> wasmtime::Result<Counted> {
        self.charge(bytes)?;
        Ok(self.hooks.in_flight.count_bytes(bytes))
    }

    /// Counts what the instance has in flight.
    pub(crate) fn in_flight(&self) -> &InFlightBytes {
        self.host_bytes.in_flight()
    }

    /// Counts what the host reads of response bodies before anybody waits for it.
    pub(crate) fn early_bytes(&self) -> &EarlyBytes {
        self.host_bytes.early()
    }

    /// The files that the component's instances have open.
    pub(crate) fn files(&self) -> &Arc<OpenFiles> {
        &self.files
    }

    /// Chooses the size of the chunks of the next body: those of a response of the instance, or those of a request.
    pub(crate) fn set_response_chunks(&mut self, response: bool) {
        self.hooks.response_chunks = response;
    }

    /// Links what this host provides beyond WASI itself. Set `waiting` if a key-value store is remote.
    ///
    /// # Errors
    /// An interface is linked twice, which is a defect.
    pub(crate) fn link(linker: &mut Linker<Self>, waiting: bool) -> wasmtime::Result<()> {
        settings::add_to_linker(linker, |guest| &guest.settings)?;
        keyvalue::add_to_linker(linker, waiting, |guest| &guest.keyvalue)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The limits of an instance, for all its memories and tables together.
struct Limits {
    max_memory: usize,
    memory: usize,
    table_elements: usize,
    footprint: Footprint,
    metrics: Arc<ComponentMetrics>,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        if total > self.max_memory {
            self.metrics.memory_refused.inc();
            return Ok(false);
        }
        self.metrics.guest_memory.add(i64::try_from(total).unwrap_or(i64::MAX) - self.memory_i64());
        self.memory = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_sub(current).saturating_add(desired);
        if total > MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        to_usize(CORE_INSTANCES_EACH)
    }

    fn tables(&self) -> usize {
        to_usize(self.footprint.tables)
    }

    fn memories(&self) -> usize {
        to_usize(self.footprint.memories)
    }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Limits {
    fn memory_i64(&self) -> i64 {
        i64::try_from(self.memory).unwrap_or(i64::MAX)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.metrics.guest_memory.sub(self.memory_i64());
    }
}
