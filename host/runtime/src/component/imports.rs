//! What a component imports and exports, and whether this host satisfies each import.

use std::collections::BTreeSet;

use serde::Serialize;
use wasmtime::{
    Engine,
    component::{Component, Linker, types::ComponentItem},
};

use super::{
    error::ComponentError,
    kind::{Kind, kind},
    linker::linker,
};
use crate::guest::Guest;

/// The output of `inspect` for one component.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// `service` (`wasi:http@0.3`) or `proxy` (`wasi:http@0.2`). `None` for a component that does not serve HTTP.
    pub kind: Option<&'static str>,
    /// All imports.
    pub imports: Vec<Import>,
    /// The names of all exports.
    pub exports: Vec<String>,
}

/// One import of a component.
#[derive(Debug, Serialize)]
pub struct Import {
    /// The full name, such as `wasi:http/types@0.3.0`.
    pub name: String,
    /// For an interface, the functions that the component uses.
    pub functions: Vec<String>,
    /// Whether this host provides the import.
    pub satisfied: bool,
    /// The reason, for an import that this host does not provide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to rebuild the component with, for an import that this host does not provide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

impl Inspection {
    /// Inspects a compiled component.
    ///
    /// # Errors
    /// The host's own interfaces do not link, which is a defect of the host.
    pub fn new(engine: &Engine, component: &Component) -> Result<Self, ComponentError> {
        let linker = linker(engine, false).map_err(ComponentError::Invalid)?;
        let mut unsatisfied = unsatisfied(engine, component, &linker);
        let ty = component.component_type();
        let imports = ty
            .imports(engine)
            .map(|(name, item)| {
                let functions = match &item.ty {
                    ComponentItem::ComponentInstance(instance) => instance
                        .exports(engine)
                        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
                        .map(|(name, _)| name.to_owned())
                        .collect(),
                    _ => Vec::new(),
                };
                let found = unsatisfied.iter().position(|(missing, _)| missing == name);
                let reason = found.map(|at| unsatisfied.swap_remove(at).1);
                let advice = reason.as_ref().and_then(|_| advice(name));
                Import { name: name.to_owned(), functions, satisfied: reason.is_none(), reason, advice }
            })
            .collect();
        let kind = kind(engine, component).ok().map(|kind| match kind {
            Kind::Service => "service",
            Kind::Proxy => "proxy",
        });
        Ok(Self { kind, imports, exports: ty.exports(engine).map(|(name, _)| name.to_owned()).collect() })
    }

    /// Whether this host can serve the component.
    pub fn runs(&self) -> bool {
        self.kind.is_some() && self.imports.iter().all(|import| import.satisfied)
    }
}

/// What to rebuild a component with that imports the interface `name`. `None`: no advice for this interface.
pub(super) fn advice(name: &str) -> Option<&'static str> {
    let (package, version) = name.split_once('@').unwrap_or((name, ""));
    if package.starts_with("wasi:") && version.starts_with("0.3.0-rc-") {
        Some(
            "release candidates of WASI 0.3 are not supported: rebuild the component for WASI 0.3.0, \
             for example with spin-sdk 7",
        )
    } else if package.starts_with("wasi:") && version.starts_with("0.2.0-rc-") {
        Some(
            "release candidates of WASI 0.2 are not supported: rebuild the component for WASI 0.2.0 or later, \
             for example with spin-sdk 5.2",
        )
    } else if package.starts_with("fermyon:spin") || package.starts_with("spin:") {
        Some(
            "only Spin has this interface: use wasi:config/store for variables and wasi:keyvalue/store \
             for key-value stores",
        )
    } else {
        None
    }
}

/// The error for the imports that `linker` does not satisfy. `None` if it satisfies all of them.
pub(super) fn unsatisfied_error(
    engine: &Engine,
    component: &Component,
    linker: &Linker<Guest>,
) -> Option<ComponentError> {
    let unsatisfied = unsatisfied(engine, component, linker);
    // Many interfaces of one version get the same advice.
    let advice: BTreeSet<_> = unsatisfied.iter().filter_map(|(name, _)| advice(name)).collect();
    let missing: Vec<_> = unsatisfied.iter().map(|(name, reason)| format!("{name} ({reason})")).collect();
    (!missing.is_empty())
        .then(|| ComponentError::Unsatisfied { missing, advice: advice.into_iter().collect() })
}

/// Name and reason of each unsatisfied import.
///
/// The linker reports only the first one. This function replaces each reported import by functions that trap, until
/// the linker reports nothing more. Types stay those of the real linker, because one interface uses another's
/// resources.
fn unsatisfied(engine: &Engine, component: &Component, linker: &Linker<Guest>) -> Vec<(String, String)> {
    let ty = component.component_type();
    let mut linker = linker.clone();
    linker.allow_shadowing(true);
    let mut found: Vec<(String, String)> = Vec::new();
    // Each round finds one more import, so the number of imports bounds the rounds.
    for _ in 0..ty.imports(engine).count() {
        let Err(error) = linker.instantiate_pre(component) else { break };
        let text = format!("{error:#}");
        let next = ty.imports(engine).find(|(name, _)| {
            text.contains(&format!("`{name}`")) && found.iter().all(|(known, _)| known != name)
        });
        let Some((name, item)) = next else { break };
        found.push((name.to_owned(), reason(&error)));
        if stub(engine, &mut linker, name, &item.ty).is_err() {
            break;
        }
    }
    found
}

/// The innermost cause is the most precise: "a matching implementation was not found", or the function that differs.
/// For a missing interface, wasmtime reports that the interface lacks the first of its functions.
fn reason(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let innermost = causes.last().cloned().unwrap_or_default();
    if innermost.contains("not found in the linker") {
        return "this host does not have the interface".to_owned();
    }
    let export = causes.iter().find_map(|cause| cause.strip_prefix("instance export `")?.split('`').next());
    match export {
        Some(export) if innermost.ends_with("implementation is missing") => {
            format!("this host does not have `{export}`")
        }
        _ => innermost,
    }
}

fn stub(
    engine: &Engine,
    linker: &mut Linker<Guest>,
    name: &str,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentInstance(instance) => {
            let mut stubs = linker.instance(name)?;
            for (export, item) in instance.exports(engine) {
                match item.ty {
                    ComponentItem::ComponentFunc(func) if func.async_() => {
                        stubs.func_new_concurrent(export, |_, _, _, _| {
                            Box::pin(async { Err(wasmtime::format_err!("a stub for inspection")) })
                        })?;
                    }
                    ComponentItem::ComponentFunc(_) => {
                        stubs.func_new(export, |_, _, _, _| {
                            Err(wasmtime::format_err!("a stub for inspection"))
                        })?;
                    }
                    ComponentItem::Resource(_) => {
                        stubs.resource(
                            export,
                            wasmtime::component::ResourceType::host::<Stub>(),
                            |_, _| Ok(()),
                        )?;
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        ComponentItem::ComponentFunc(_) => {
            linker.root().func_new(name, |_, _, _, _| Err(wasmtime::format_err!("a stub for inspection")))
        }
        _ => Err(wasmtime::format_err!("only interfaces and functions can be replaced")),
    }
}

/// Stands for the type of resources that nobody provides.
struct Stub;

#[cfg(test)]
mod tests {
    use wasmtime::Config;

    use super::*;
    use crate::component::Linked;

    /// The binary of a component that imports the instances `names`, each with the function `handle`, and exports them
    /// again. See the component model's Binary.md.
    fn passing_on(names: &[&str]) -> Vec<u8> {
        fn vec(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
            let items: Vec<_> = items.into_iter().collect();
            let mut bytes = vec![u8::try_from(items.len()).unwrap()];
            bytes.extend(items.concat());
            bytes
        }
        fn name(text: &str) -> Vec<u8> {
            [&[0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
        }
        let function = vec![0x01, 0x40, 0x00, 0x01, 0x00];
        let export = [&[0x04][..], &name("handle"), &[0x01, 0x00]].concat();
        let instance = [vec![0x42], vec([function, export])].concat();
        let imports = names.iter().map(|import| [name(import), vec![0x05, 0x00]].concat());
        let exports = (0u8..).zip(names).map(|(at, export)| [name(export), vec![0x05, at, 0x00]].concat());
        let sections = [(7, vec([instance])), (10, vec(imports)), (11, vec(exports))];
        let sections = sections.map(|(id, content)| {
            // Two bytes of LEB128.
            let length = content.len();
            let length = [u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()];
            [&[id], &length[..], &content].concat()
        });
        [&b"\0asm\x0d\0\x01\0"[..], &sections.concat()].concat()
    }

    fn refused(names: &[&str]) -> (String, Inspection) {
        let mut config = Config::new();
        config.wasm_component_model(true).wasm_component_model_async(true);
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, &passing_on(names)).unwrap();
        let error = Linked::new(&engine, &component, false).err().unwrap();
        (error.to_string(), Inspection::new(&engine, &component).unwrap())
    }

    #[test]
    fn an_import_of_a_release_candidate_comes_with_what_to_rebuild_with() {
        let advice = "release candidates of WASI 0.3 are not supported: rebuild the component for WASI 0.3.0, \
                      for example with spin-sdk 7";
        let (handler, client) =
            ("wasi:http/handler@0.3.0-rc-2026-03-15", "wasi:http/client@0.3.0-rc-2026-03-15");
        let (error, inspection) = refused(&[handler, client]);
        assert!(error.contains(handler) && error.contains(client), "{error}");
        assert!(error.ends_with(&format!("; {advice}")) && error.matches(advice).count() == 1, "{error}");
        assert!(inspection.imports.iter().all(|import| import.advice == Some(advice)), "{inspection:?}");

        let (error, _) = refused(&["wasi:http/incoming-handler@0.2.0-rc-2023-11-10"]);
        assert!(error.ends_with("for WASI 0.2.0 or later, for example with spin-sdk 5.2"), "{error}");
        let (error, _) = refused(&["wasi:http/handler@0.3.0-rc-2026-01-06", "fermyon:spin/variables@2.0.0"]);
        assert!(
            error.contains("spin-sdk 7") && error.contains("use wasi:config/store for variables"),
            "{error}"
        );
    }

    #[test]
    fn an_import_that_nobody_knows_has_no_advice() {
        let (error, _) = refused(&["wasi:http/handler@0.3.999", "other:thing/api@1.0.0"]);
        assert!(error.ends_with(')'), "{error}");
        assert_eq!(advice("wasi:http/types@0.3.0"), None);
    }
}
