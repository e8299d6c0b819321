//! What one instance of a component takes from the pool that all components share.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, CompositeInnerType, Instance, Parser, Payload, RefType, ValType,
};
use wasmtime::component::Component;

use super::engine::{MEMORIES_EACH, STACKS_EACH, TABLES_EACH};

/// The most of each kind for one instance.
const MAX_TABLES: u32 = 64;
const MAX_MEMORIES: u32 = 16;
const MAX_STACKS: u32 = 24;
/// A component that another component brings in when it runs. This host provides none.
const UNKNOWN: u32 = u32::MAX;

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
    /// The bytes are not a component.
    #[error("it is invalid: {0}")]
    Invalid(String),
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

/// What an instance needs, as far as the component's binary says it and wasmtime does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Stacks for calls that run or are suspended: one for each inner component with code, because a component can be
    /// entered again only after the call that blocks in it, and one for the call that runs.
    pub stacks: u32,
    /// Whether it may have objects of the garbage collector: their heap is one more memory.
    pub gc_heap: bool,
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

impl Needs {
    /// The bytes of [`Self::to_bytes`].
    pub(crate) const BYTES: usize = size_of::<u32>() + 1;

    /// What an instance of the component with the binary `wasm` needs.
    ///
    /// # Errors
    /// The bytes are not a component.
    pub fn of(wasm: &[u8]) -> Result<Self, FootprintError> {
        needs(wasm).map_err(|error| FootprintError::Invalid(error.to_string()))
    }

    /// The form in the cache of compiled code.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.stacks.to_le_bytes();
        [a, b, c, d, self.gc_heap.into()]
    }

    pub(crate) fn from_bytes([a, b, c, d, gc_heap]: [u8; Self::BYTES]) -> Self {
        Self { stacks: u32::from_le_bytes([a, b, c, d]), gc_heap: gc_heap != 0 }
    }
}

/// A component or module of which the parser has read the beginning.
#[derive(Default)]
struct Frame {
    /// Whether this is a component. Modules contain nothing that counts.
    is_component: bool,
    /// For each component of the index space: how many components with code its instantiation makes.
    components: Vec<u32>,
    has_code: bool,
    made: u32,
}

fn needs(wasm: &[u8]) -> Result<Needs, wasmparser::BinaryReaderError> {
    let mut open = Vec::<Frame>::new();
    let (mut with_code, mut gc_heap) = (0u32, false);
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Payload::Version { encoding, .. } = payload {
            let is_component = encoding == wasmparser::Encoding::Component;
            open.push(Frame { is_component, ..Frame::default() });
            continue;
        }
        if let Payload::End(_) = payload {
            let Some(done) = open.pop() else { break };
            with_code = done.made.saturating_add(u32::from(done.has_code));
            if let (true, Some(outer)) = (done.is_component, open.last_mut()) {
                outer.components.push(with_code);
            }
            continue;
        }
        gc_heap |= has_objects(&payload)?;
        read(payload, &mut open)?;
    }
    Ok(Needs { stacks: with_code.saturating_add(1), gc_heap })
}

/// Whether a section of a module says that the module may have objects of the garbage collector: their types, references to
/// other things than functions, or exceptions.
fn has_objects(payload: &Payload<'_>) -> Result<bool, wasmparser::BinaryReaderError> {
    let is_object = |reference: RefType| !reference.is_func_ref() && !reference.is_concrete_type_ref();
    let mut found = false;
    match payload {
        Payload::TypeSection(groups) => {
            for group in groups.clone() {
                for sub in group?.types() {
                    found |= match &sub.composite_type.inner {
                        CompositeInnerType::Func(function) => {
                            let mut values = function.params().iter().chain(function.results());
                            values.any(
                                |value| matches!(value, ValType::Ref(reference) if is_object(*reference)),
                            )
                        }
                        _ => true,
                    };
                }
            }
        }
        Payload::TableSection(tables) => {
            for table in tables.clone() {
                found |= is_object(table?.ty.element_type);
            }
        }
        Payload::GlobalSection(globals) => {
            for global in globals.clone() {
                found |= matches!(global?.ty.content_type, ValType::Ref(reference) if is_object(reference));
            }
        }
        Payload::TagSection(_) => found = true,
        _ => {}
    }
    Ok(found)
}

impl Frame {
    /// How many components with code the component with this index makes.
    fn known(&self, index: u32) -> u32 {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.components.get(index).copied().unwrap_or(UNKNOWN)
    }
}

/// How many components with code the component behind an alias makes. `None` for an alias of another kind.
fn aliased(alias: &ComponentAlias<'_>, frame: &Frame, outer: &[Frame]) -> Option<u32> {
    match alias {
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => Some(UNKNOWN),
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            let from = match count {
                0 => Some(frame),
                count => outer.len().checked_sub(count).and_then(|at| outer.get(at)),
            };
            Some(from.map_or(UNKNOWN, |from| from.known(*index)))
        }
        _ => None,
    }
}

/// Reads what one section of the innermost component says about components and their instances.
fn read(payload: Payload<'_>, open: &mut [Frame]) -> Result<(), wasmparser::BinaryReaderError> {
    let Some((frame, outer)) = open.split_last_mut() else { return Ok(()) };
    match payload {
        Payload::InstanceSection(instances) if frame.is_component => {
            for instance in instances {
                frame.has_code |= matches!(instance?, Instance::Instantiate { .. });
            }
        }
        // A component can lift a function of the host without a module of its own. A call of it blocks on a stack, too.
        Payload::ComponentCanonicalSection(functions) => {
            for function in functions {
                frame.has_code |= matches!(function?, CanonicalFunction::Lift { .. });
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances {
                if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                    frame.made = frame.made.saturating_add(frame.known(component_index));
                }
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports {
                if matches!(import?.ty, ComponentTypeRef::Component(_)) {
                    frame.components.push(UNKNOWN);
                }
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports {
                let export = export?;
                if export.kind == ComponentExternalKind::Component {
                    frame.components.push(frame.known(export.index));
                }
            }
        }
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases {
                let alias = aliased(&alias?, frame, outer);
                frame.components.extend(alias);
            }
        }
        _ => {}
    }
    Ok(())
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
        Footprint::of(&Component::from_binary(&engine, wasm).unwrap(), Needs::of(wasm)?)
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
