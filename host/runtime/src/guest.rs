//! What belongs to one instance: its WASI, its limits, and its view of the host.

use std::sync::Arc;

use wasmtime::{Engine, ResourceLimiter, Store, component::Linker};
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use wasi_http_host_keyvalue::{Access, Stats as KeyValueStats};
use wasi_http_host_manifest::{Mount, settings::Snapshot};
use wasi_http_host_outbound as outbound;
use wasi_http_host_telemetry::trace::Tracer;

use super::{
    ComponentMetrics,
    cause::Causes,
    guest_output::{GuestOutput, GuestStream},
    hooks::{Hooks, Siblings},
    keyvalue, settings,
    traced::TracedTasks,
};

/// Core instances that a component may consist of, and tables and memories that they may have.
const MAX_CORE_INSTANCES: usize = 64;
const MAX_TABLES: usize = 64;
const MAX_MEMORIES: usize = 16;
/// Elements of all tables together.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;
/// Handles (fields, requests, responses, …) that a guest may hold at once: what stands behind them is the host's memory,
/// of which the guest's ceiling knows nothing. With the next, a quarter of a GiB an instance.
const MAX_RESOURCES: usize = 1 << 12;
/// Bytes of a set of header fields that a guest builds.
const MAX_FIELDS_BYTES: usize = 64 << 10;
/// Bytes that a guest gets of one question for random ones: making them holds the thread up.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// What every instance of a component starts with, on one thread.
#[derive(Clone)]
pub struct Template {
    /// Bytes that all its linear memories may have together.
    pub max_memory: usize,
    /// Its environment variables.
    pub environment: Arc<[(String, String)]>,
    /// Directories that it sees, read-only.
    pub mounts: Arc<[Mount]>,
    /// What `wasi:config` answers.
    pub settings: Arc<Snapshot>,
    /// The stores that it may open.
    pub keyvalue: Access,
    /// What is counted of its operations on stores, on this thread.
    pub keyvalue_stats: Arc<KeyValueStats>,
    /// Its connections live on the thread.
    pub outbound: outbound::Client,
    /// Where it prints to.
    pub output: Arc<GuestOutput>,
    /// What is counted of it.
    pub metrics: Arc<ComponentMetrics>,
    /// Where the component may ask others of its application.
    pub siblings: Option<Arc<dyn Siblings>>,
    /// In traces.
    pub component: Arc<str>,
    /// None where nobody asks for traces.
    pub tracer: Option<Arc<Tracer>>,
}

/// The data of an instance's store.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    settings: settings::Client,
    keyvalue: keyvalue::Client,
    limits: Limits,
    causes: Option<Arc<Causes>>,
    traced: Option<Arc<TracedTasks>>,
}

impl Guest {
    /// A store for a new instance, which says through `on_wait` when it stands still.
    pub(crate) fn store(engine: &Engine, template: &Template, on_wait: keyvalue::OnWait) -> Store<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        let mut wasi = WasiCtx::builder();
        wasi.allow_blocking_current_thread(false)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM_BYTES)
            .envs(&template.environment)
            .stdout(template.output.stream(GuestStream::Stdout))
            .stderr(template.output.stream(GuestStream::Stderr));
        for Mount { source, destination } in &*template.mounts {
            // Gone since the start: the guest finds no directory there, and says what it lacks.
            if let Err(error) = wasi.preopened_dir(source, destination, FsPerms::ReadOnly) {
                tracing::error!(directory = %source.display(), %error, "a directory cannot be mounted");
            }
        }
        let siblings = template.siblings.clone().map(|siblings| (siblings, Arc::<Causes>::default()));
        let traced = template.tracer.as_ref();
        let traced =
            traced.map(|tracer| Arc::new(TracedTasks::new(tracer.clone(), template.component.clone())));
        let guest = Self {
            causes: siblings.as_ref().map(|(_, causes)| causes.clone()),
            table,
            wasi: wasi.build(),
            http,
            hooks: Hooks { client: template.outbound.clone(), siblings, traced: traced.clone() },
            settings: settings::Client::new(template.settings.clone()),
            keyvalue: keyvalue::Client::new(template.keyvalue.clone(), template.keyvalue_stats.clone())
                .on_wait(on_wait)
                .traced(traced.clone()),
            limits: Limits {
                max_memory: template.max_memory,
                memory: 0,
                table_elements: 0,
                metrics: template.metrics.clone(),
            },
            traced,
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.limits);
        // Each tick of the epoch is a yield: others of the thread get their turn, and limits are looked at.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// Which requests the instance serves, where they may cause others.
    pub(crate) fn causes(&self) -> Option<&Arc<Causes>> {
        self.causes.as_ref()
    }

    /// Which requests the instance is serving; none where nobody asks for traces.
    pub(crate) fn traced(&self) -> Option<&Arc<TracedTasks>> {
        self.traced.as_ref()
    }

    /// Adds what this host provides beyond WASI itself. `waiting` where a key-value store is remote.
    ///
    /// # Errors
    /// When an interface is linked twice, which is a defect.
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

/// A ceiling on what an instance takes, all its memories and tables together.
struct Limits {
    max_memory: usize,
    memory: usize,
    table_elements: usize,
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
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
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
