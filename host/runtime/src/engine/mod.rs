//! The WebAssembly engine: how code is compiled, where instances live, and what stops them.

mod cache;
mod checksum;

pub use cache::{Cache, Compiled, abandon, compile};

use std::{io, thread, time::Duration};

use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often running guest code looks up: the longest that a spinning guest keeps others of its thread waiting.
const TICK: Duration = Duration::from_millis(5);

/// Core instances and tables that one component instance may take on average: a component that
/// `wasm32-wasip2` makes has three core instances and two tables; composed ones have a multiple of that.
const CORE_INSTANCES_EACH: u32 = 8;
const TABLES_EACH: u32 = 8;
const MEMORIES_EACH: u32 = 2;
/// Stacks: one for the call that runs, and on average another for one that stands still meanwhile, as few guests let any. Each
/// costs a start the two microseconds of its guard page.
const STACKS_EACH: u32 = 2;
/// With the memories of as many, of 4 GiB and a guard each, three quarters of the 128 TiB that a process has.
const MAX_INSTANCES: u32 = 12_000;
/// Each is two mappings from the start, of which Linux allows a process 65,530; memories and code need some too.
const MAX_STACKS: u32 = 24_000;

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
        "no room in the address space for {instances} instances ({cause}): lower --max-instances or --max-memory, or raise the limit (ulimit -v)"
    )]
    AddressSpace {
        /// Of all components together.
        instances: u32,
        /// What it said.
        cause: String,
    },
    /// Without its thread nothing would stop a spinning guest.
    #[error("no thread to interrupt guests with: {0}")]
    Ticker(io::Error),
}

/// For how many instances there is to be room, those left out that come in the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Without which there is no start.
    pub least: u32,
    /// Where the system allows it, and for as many again.
    pub wanted: u32,
}

impl Room {
    /// The most for which there is, whatever is asked for.
    pub const MAX: u32 = 8_000;

    fn ample(self) -> Pool {
        Pool { instances: self.wanted.saturating_mul(2).min(MAX_INSTANCES), ..Pool::new(self.wanted) }
    }

    fn scant(self) -> Pool {
        Pool::new(self.least)
    }
}

/// The engine's places.
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

/// Sets up the engine for instances of `max_memory` bytes at most, and the thread that interrupts guests.
///
/// # Errors
/// When the pool of instances does not fit the address space.
pub fn new(max_memory: usize, room: Room) -> Result<Engine, EngineError> {
    let engine = Engine::new(&settings(max_memory, room.ample())).or_else(|_| {
        let instances = room.least;
        Engine::new(&settings(max_memory, room.scant()))
            .map_err(|cause| EngineError::AddressSpace { instances, cause: format!("{cause:#}") })
    })?;
    tick(&engine).map_err(EngineError::Ticker)?;
    Ok(engine)
}

fn settings(max_memory: usize, Pool { instances, stacks }: Pool) -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances.saturating_mul(MEMORIES_EACH))
        .total_tables(instances.saturating_mul(TABLES_EACH))
        .total_stacks(stacks)
        .max_memory_size(max_memory)
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
