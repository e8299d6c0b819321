//! The WebAssembly engine: how code is compiled, where instances live, and what stops them.

mod cache;
mod checksum;

pub(crate) use cache::{Binary, Cache, Compiled, abandon};

use std::{io, thread, time::Duration};

use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::config::Config;

/// How often running guest code looks up: the longest that a spinning guest keeps others of its thread waiting.
const TICK: Duration = Duration::from_millis(5);

/// Core instances, tables and stacks that one component instance may take on average: a component that
/// `wasm32-wasip2` makes has three core instances and two tables; composed ones have a multiple of that.
const CORE_INSTANCES_EACH: u32 = 8;
const TABLES_EACH: u32 = 8;
const MEMORIES_EACH: u32 = 2;
const STACKS_EACH: u32 = 4;

/// Bytes of a pool slot that are cleared rather than given back to the kernel when an instance ends, which is
/// faster for the small instances that most are, and costs as much resident memory a free slot.
const KEEP_RESIDENT: usize = 1 << 20;
const KEEP_RESIDENT_TABLE: usize = 64 << 10;
/// Free slots that keep these bytes.
const WARM_SLOTS: u32 = 64;

/// The engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operating system refused the address space.
    #[error(
        "no room in the address space for {instances} instances ({cause}): lower --max-instances, or raise the limit (ulimit -v)"
    )]
    AddressSpace {
        /// `--max-instances`.
        instances: u32,
        /// What it said.
        cause: String,
    },
    /// Without its thread nothing would stop a spinning guest.
    #[error("no thread to interrupt guests with: {0}")]
    Ticker(io::Error),
}

/// Sets up the engine for so many components under `config`, and the thread that interrupts guests.
///
/// # Errors
/// When the pool of instances does not fit the address space.
pub(crate) fn new(config: &Config, components: usize) -> Result<Engine, EngineError> {
    let instances = slots(config, components);
    let engine = Engine::new(&settings(config, instances))
        .map_err(|cause| EngineError::AddressSpace { instances, cause: format!("{cause:#}") })?;
    tick(&engine).map_err(EngineError::Ticker)?;
    Ok(engine)
}

/// Places for instances: each component may fill its own without taking another's, and where a new version of it may
/// come while it runs, without waiting for the old one's.
fn slots(config: &Config, components: usize) -> u32 {
    let changes = config.watch || config.settings_dir.is_some();
    let components = u32::try_from(components).unwrap_or(u32::MAX).max(1);
    config.max_instances.get().saturating_mul(components).saturating_mul(1 + u32::from(changes))
}

fn settings(config: &Config, instances: u32) -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances.saturating_mul(MEMORIES_EACH))
        .total_tables(instances.saturating_mul(TABLES_EACH))
        .total_stacks(instances.saturating_mul(STACKS_EACH))
        .max_memory_size(config.max_memory.as_usize())
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT_TABLE)
        .max_unused_warm_slots(WARM_SLOTS.min(instances))
        // Where the kernel can tell (6.7 and later), only pages that a guest has written are put back.
        .pagemap_scan(Enabled::Auto);

    let mut settings = wasmtime::Config::new();
    settings
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    settings
}

/// Moves the engine's epoch on as long as the engine lives: a thread of its own, since a runtime's timers stand
/// still exactly when a guest spins.
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
