//! The WebAssembly engine: how code is compiled, where instances live, and what interrupts a guest.

mod cache;
mod checksum;

pub use cache::{Cache, Compiled, abandon, compile};

use std::{io, thread, time::Duration};

pub use wasmtime::Engine;
use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Time between two epoch ticks: the longest time that a spinning guest blocks the other tasks of its thread.
const TICK: Duration = Duration::from_millis(5);

/// The most core instances of an instance. The pool only counts them: each has its memory when it is created.
pub(crate) const CORE_INSTANCES_EACH: u32 = 64;
/// The share of an instance. A component that `wasm32-wasip2` makes has two tables and one memory. A component whose
/// instances need more has fewer instances ([`Footprint`](crate::Footprint)).
pub(crate) const TABLES_EACH: u32 = 8;
pub(crate) const MEMORIES_EACH: u32 = 2;
/// One for the call that runs, and one for a call that is suspended meanwhile. Each stack adds two microseconds to a
/// start, for its guard page.
pub(crate) const STACKS_EACH: u32 = 2;
/// The memories of this many instances, each 4 GiB plus a guard region, take three quarters of the 128 TiB address
/// space of a process.
const MAX_INSTANCES: u32 = 12_000;
/// Each stack is two mappings from the start. Linux allows a process 65,530 mappings, and memories and code need some
/// of them.
const MAX_STACKS: u32 = 24_000;

/// Bytes of a pool slot that wasmtime clears when an instance ends, rather than returning the pages to the kernel.
/// Clearing is faster for small instances, which are the most frequent. Each free slot keeps this much resident
/// memory.
const KEEP_RESIDENT: usize = 1 << 20;
const KEEP_RESIDENT_TABLE: usize = 64 << 10;
/// Free slots that keep the resident bytes.
const WARM_SLOTS: u32 = 64;
/// The most bytes that free slots keep.
pub const WARM_BYTES: u64 = WARM_SLOTS as u64 * (KEEP_RESIDENT + KEEP_RESIDENT_TABLE) as u64;

/// The engine cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine refused its settings.
    #[error("the engine cannot be set up: {0}")]
    Settings(String),
    /// The thread that interrupts spinning guests cannot start.
    #[error("cannot start the thread that interrupts guests: {0}")]
    Ticker(io::Error),
}

/// Without a pool: bytes of a memory's address space that are reserved for its growth, so that not each growth copies
/// the memory.
const GROWTH: u64 = 1 << 20;
/// Without a pool: bytes of the guard region behind a memory. Accesses check their bounds, so a page is enough.
const GUARD: u64 = 64 << 10;

/// The number of instances that the pool reserves space for. Instances that replace others during a reload are extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCapacity {
    /// If there is no space for this many instances, there is no pool.
    pub least: u32,
    /// The number that is reserved twice if the system allows it: during a reload, new instances start before the old
    /// ones stop.
    pub wanted: u32,
}

impl PoolCapacity {
    /// The largest number of instances, whatever the flags ask for.
    pub const MAX: u32 = 8_000;

    fn with_reload_headroom(self) -> Pool {
        Pool { instances: self.wanted.saturating_mul(2).min(MAX_INSTANCES), ..Pool::new(self.wanted) }
    }

    fn minimal(self) -> Pool {
        Pool::new(self.least)
    }
}

/// The size of the engine's pool.
#[derive(Clone, Copy)]
struct Pool {
    instances: u32,
    stacks: u32,
}

impl Pool {
    fn new(instances: u32) -> Self {
        Self { instances, stacks: instances.saturating_mul(STACKS_EACH).min(MAX_STACKS) }
    }
}

/// Sets up the engine for instances with at most `max_memory` bytes (at most 4 GiB), and starts the thread that interrupts guests.
///
/// A pool reserves 4 GiB of address space for each memory, whatever `max_memory` is. If the process may not have that much (`ulimit -v`, 39-bit
/// addresses of some arm64 kernels, emulators), the engine allocates each instance when it is created. The limits of
/// components do not depend on the pool: the dispatch counts instances, and each store limits its memories.
///
/// # Errors
/// The engine refuses its settings, or the thread cannot start.
pub fn new(max_memory: usize, capacity: PoolCapacity) -> Result<Engine, EngineError> {
    let pooled = Engine::new(&pooling(max_memory, capacity.with_reload_headroom()))
        .or_else(|_| Engine::new(&pooling(max_memory, capacity.minimal())));
    let engine = match pooled {
        Ok(engine) => engine,
        Err(cause) => {
            tracing::warn!(
                cause = format!("{cause:#}"),
                instances = capacity.least,
                "the address space is too small for a pool of instances: each instance is allocated when it is created, \
                 guests run slower because each memory access is checked, and code that was compiled for a pool is \
                 compiled again. Raise the limit (ulimit -v), or lower --max-instances"
            );
            Engine::new(&on_demand()).map_err(|cause| EngineError::Settings(format!("{cause:#}")))?
        }
    };
    tick(&engine).map_err(EngineError::Ticker)?;
    Ok(engine)
}

/// Whether the instances of `engine` come from a pool.
#[must_use]
pub fn is_pooling(engine: &Engine) -> bool {
    engine.pooling_allocator_metrics().is_some()
}

fn pooling(max_memory: usize, Pool { instances, stacks }: Pool) -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances.saturating_mul(MEMORIES_EACH))
        .total_tables(instances.saturating_mul(TABLES_EACH))
        .total_stacks(stacks)
        .total_gc_heaps(instances)
        .max_memory_size(max_memory)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT_TABLE)
        .max_unused_warm_slots(WARM_SLOTS.min(instances))
        // If the kernel can report written pages (6.7 and later), only those are reset.
        .pagemap_scan(Enabled::Auto);

    let mut settings = common();
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    settings
}

fn on_demand() -> wasmtime::Config {
    let mut settings = common();
    settings
        .memory_reservation(0)
        .memory_reservation_for_growth(GROWTH)
        .memory_guard_size(GUARD)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand);
    settings
}

fn common() -> wasmtime::Config {
    let mut settings = wasmtime::Config::new();
    settings.wasm_component_model_async(true).epoch_interruption(true).memory_init_cow(true);
    settings
}

/// Advances the engine's epoch for as long as the engine lives. This is a thread of its own, because a runtime's
/// timers stop exactly when a guest spins.
fn tick(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })
        .map(drop)
}
