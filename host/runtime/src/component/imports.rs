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
