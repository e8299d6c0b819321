//! What one instance of a component takes from the pool that all components share.

use wasmtime::component::Component;

use crate::{
    engine::{MEMORIES_EACH, STACKS_EACH, TABLES_EACH},
    needs::{Needs, UNKNOWN},
};

/// The most of each kind for one instance.
const MAX_TABLES: u32 = 64;
const MAX_MEMORIES: u32 = 16;
const MAX_STACKS: u32 = 24;

/// Why a component's instances have no place in the pool.
#[derive(Debug, thiserror::Error)]
pub enum FootprintError {
    /// An instance would take more of the pool than any instance may have.
    #[error("each instance needs {footprint}, over the limit of {most}")]
    TooLarge {
        /// What an instance needs.
        footprint: Footprint,
        /// What an instance may have.
        most: Footprint,
    },
    /// The pool has no place for an instance on each thread.
    #[error(
        "each instance needs {footprint}, which counts as {} instances: {instances} instances leave none for each of \
         {threads} threads; raise --max-instances",
        footprint.shares()
    )]
    NoPlace {
        /// What an instance needs.
        footprint: Footprint,
        /// The component's instances by its limits.
        instances: usize,
        /// The host's threads.
        threads: usize,
    },
}

/// What one instance of a component takes from the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Tables of all its core instances.
    pub tables: u32,
    /// Linear memories of all its core instances, and the heap of its garbage collector.
    pub memories: u32,
    /// Stacks for calls that run or are suspended ([`Needs::stacks`]).
    pub stacks: u32,
}

impl Footprint {
    /// The footprint of `component`, whose binary needs this.
    ///
    /// # Errors
    /// An instance would take more than any instance may have, or its footprint depends on an import.
    pub(crate) fn of(component: &Component, needs: Needs) -> Result<Self, FootprintError> {
        let required = component.resources_required();
        let footprint = Self {
            tables: required.as_ref().map_or(UNKNOWN, |required| required.num_tables),
            memories: required
                .as_ref()
                .map_or(UNKNOWN, |required| required.num_memories.saturating_add(needs.gc_heap.into())),
            stacks: needs.stacks,
        };
        let most = Self { tables: MAX_TABLES, memories: MAX_MEMORIES, stacks: MAX_STACKS };
        let fits = footprint.tables <= MAX_TABLES
            && footprint.memories <= MAX_MEMORIES
            && footprint.stacks <= MAX_STACKS;
        if fits { Ok(footprint) } else { Err(FootprintError::TooLarge { footprint, most }) }
    }

    /// For how many ordinary instances one instance of this component counts.
    #[must_use]
    pub fn shares(self) -> u32 {
        let shares = |needed: u32, each: u32| needed.div_ceil(each.max(1));
        shares(self.tables, TABLES_EACH)
            .max(shares(self.memories, MEMORIES_EACH))
            .max(shares(self.stacks, STACKS_EACH))
            .max(1)
    }
}

impl std::fmt::Display for Footprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |n: u32| if n == UNKNOWN { "an unknown number of".to_owned() } else { n.to_string() };
        let (tables, memories, stacks) = (count(self.tables), count(self.memories), count(self.stacks));
        write!(f, "{tables} tables, {memories} memories and {stacks} stacks")
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;

    /// A section, with its length in LEB128.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![id];
        let mut length = content.len();
        loop {
            let low = u8::try_from(length & 0x7f).unwrap();
            length >>= 7;
            bytes.push(if length == 0 { low } else { low | 0x80 });
            if length == 0 {
                break;
            }
        }
        [bytes, content.to_vec()].concat()
    }

    /// A component with these sections.
    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
    }

    /// A core module with these numbers of tables and memories.
    fn module(tables: u8, memories: u8) -> Vec<u8> {
        let tables = [vec![tables], [0x70, 0, 1].repeat(tables.into())].concat();
        let memories = [vec![memories], [0, 1].repeat(memories.into())].concat();
        [b"\0asm\x01\0\0\0".to_vec(), section(4, &tables), section(5, &memories)].concat()
    }

    /// A component with `count` core instances of one module.
    fn of_core_instances(count: u8, module: &[u8]) -> Vec<u8> {
        let instances = [vec![count], [0, 0, 0].repeat(count.into())].concat();
        component(&[section(1, module), section(2, &instances)])
    }

    /// A component with `count` instances of an inner component.
    fn of_inner(count: u8, inner: &[u8]) -> Vec<u8> {
        let instances = [vec![count], [0, 0, 0].repeat(count.into())].concat();
        component(&[section(4, inner), section(5, &instances)])
    }

    fn footprint(wasm: &[u8]) -> Result<Footprint, FootprintError> {
        let engine = Engine::default();
        Footprint::of(&Component::from_binary(&engine, wasm).unwrap(), Needs::of(wasm).unwrap())
    }

    /// A component that imports the instance `wasi:clocks/monotonic-clock` with `wait-for`, with `count` inner components that
    /// lower and lift it and have no module.
    fn of_lifts(count: u8) -> Vec<u8> {
        // In each: a type of the function, an alias or import of it, `canon lower`, and `canon lift` of what was lowered.
        let wait = [&[1, 0x40, 1, 1][..], b"t", &[0x77, 1, 0]].concat();
        let import = [&[1, 0, 1][..], b"f", &[1, 0]].concat();
        let inner = component(&[
            section(7, &wait),
            section(10, &import),
            section(8, &[1, 1, 0, 0, 0]),
            section(8, &[1, 0, 0, 0, 0, 0]),
        ]);
        let with = [&[0, 0, 1][..], &[1], b"f", &[1, 0]].concat();
        let instances = [vec![count], with.repeat(count.into())].concat();
        component(&[section(7, &wait), section(10, &import), section(4, &inner), section(5, &instances)])
    }

    #[test]
    fn a_component_that_lifts_what_it_imports_needs_a_stack() {
        let error = footprint(&of_lifts(60)).unwrap_err().to_string();
        assert!(error.contains("61 stacks"), "{error}");
    }

    #[test]
    fn the_heap_of_the_garbage_collector_is_a_memory() {
        // A type of a struct without fields; a global of type externref.
        let of_struct = section(1, &[1, 0x5f, 0]);
        let of_reference = section(6, &[1, 0x6f, 0, 0xd0, 0x6f, 0x0b]);
        for module in [of_struct, of_reference] {
            let module = [b"\0asm\x01\0\0\0".to_vec(), module].concat();
            assert!(Needs::of(&of_core_instances(1, &module)).unwrap().gc_heap);
            assert_eq!(footprint(&of_core_instances(1, &module)).unwrap().memories, 1);
        }
        assert!(!Needs::of(&of_core_instances(1, &module(2, 1))).unwrap().gc_heap);
    }

    #[test]
    fn needs_keep_their_form() {
        let needs = Needs { stacks: 0x0102_0304, gc_heap: true };
        assert_eq!(needs.to_bytes(), [4, 3, 2, 1, 1]);
        assert_eq!(Needs::from_bytes(needs.to_bytes()), needs);
    }

    #[test]
    fn an_ordinary_component_takes_one_share() {
        let found = footprint(&of_core_instances(1, &module(2, 1))).unwrap();
        assert_eq!(found, Footprint { tables: 2, memories: 1, stacks: 2 });
        assert_eq!(found.shares(), 1);
    }

    #[test]
    fn a_component_of_many_tables_memories_or_inner_components_takes_several_shares_or_is_refused() {
        assert_eq!(footprint(&of_core_instances(8, &module(2, 1))).unwrap().shares(), 4);
        assert_eq!(footprint(&of_core_instances(20, &module(1, 0))).unwrap().shares(), 3);
        // Core instances in one component share its stack.
        assert_eq!(footprint(&of_core_instances(60, &module(0, 0))).unwrap().shares(), 1);

        let one = of_core_instances(1, &module(0, 0));
        let twenty = footprint(&of_inner(20, &one)).unwrap();
        assert_eq!(twenty, Footprint { tables: 0, memories: 0, stacks: 21 });
        assert_eq!(twenty.shares(), 11);
        let error = footprint(&of_inner(60, &one)).unwrap_err().to_string();
        assert!(error.contains("61 stacks") && error.contains("24 stacks"), "{error}");
        let error = footprint(&of_inner(8, &of_inner(8, &one))).unwrap_err().to_string();
        assert!(error.contains("65 stacks"), "{error}");
        let error = footprint(&of_core_instances(60, &module(2, 1))).unwrap_err().to_string();
        assert!(error.contains("120 tables, 60 memories"), "{error}");
    }
}
