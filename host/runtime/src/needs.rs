//! What a component's binary says about its instances, and wasmtime does not.

use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, CompositeInnerType, Instance, Parser, Payload, RefType,
    ValType,
};

/// A number that depends on a component which another component brings in when it runs. This host provides none.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// What an instance needs, as far as the component's binary says it and wasmtime does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Stacks for calls that run or are suspended: one for each inner component with code, because a component can be
    /// entered again only after the call that blocks in it, and one for the call that runs.
    pub stacks: u32,
    /// Whether it may have objects of the garbage collector: their heap is one more memory.
    pub gc_heap: bool,
}

impl Needs {
    /// The bytes of [`Self::to_bytes`].
    pub(crate) const BYTES: usize = size_of::<u32>() + 1;

    /// What an instance of the component with the binary `wasm` needs.
    ///
    /// # Errors
    /// The bytes are not a component.
    pub fn of(wasm: &[u8]) -> Result<Self, BinaryReaderError> {
        needs(wasm)
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

fn needs(wasm: &[u8]) -> Result<Needs, BinaryReaderError> {
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
fn has_objects(payload: &Payload<'_>) -> Result<bool, BinaryReaderError> {
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
fn read(payload: Payload<'_>, open: &mut [Frame]) -> Result<(), BinaryReaderError> {
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
