//! The commands `compile` and `inspect`, which load the components of a configuration and do not serve.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use wasi_http_host_runtime::{
    ComponentError, Inspection, Linked,
    engine::{self, Compiled},
};
use wasmtime::Engine;

use super::{
    ApplicationConfig, Binary, LoadError,
    bounds::pool_capacity,
    loader::{cache, compiled},
    source,
};

/// The result of `compile` for one component.
#[derive(Debug)]
pub struct CompileReport {
    /// The component's ID.
    pub component: String,
    /// The file with the compiled code. `None` if there is no cache.
    pub file: Option<PathBuf>,
    /// Whether the code was in the cache already.
    pub from_cache: bool,
    /// How long compiling or reading from the cache took.
    pub duration: Duration,
}

/// Compiles each component of `config`, so that a later start finds the code in the cache.
///
/// # Errors
/// Those of [`Loader::load`](super::Loader::load).
pub fn compile(config: &ApplicationConfig) -> Result<Vec<CompileReport>, LoadError> {
    each_compiled(config, |engine, component, compiled, started| {
        Linked::new(engine, &compiled, false)?;
        Ok(CompileReport {
            component,
            file: compiled.file,
            from_cache: compiled.from_cache,
            duration: started.elapsed(),
        })
    })
}

/// A component's ID, and its imports and exports.
#[derive(Debug)]
pub struct Inspected {
    /// The component's ID.
    pub component: String,
    /// The component's imports and exports.
    pub inspection: Inspection,
}

/// Reads the imports and exports of each component of `config`.
///
/// # Errors
/// Those of [`compile`], except unsatisfied imports and missing exports, which the inspection reports.
pub fn inspect(config: &ApplicationConfig) -> Result<Vec<Inspected>, LoadError> {
    each_compiled(config, |engine, component, compiled, _| {
        Ok(Inspected { component, inspection: Inspection::new(engine, &compiled.component)? })
    })
}

/// Compiles each component of `config`, or reads its code from the cache. `report` gets the engine, the component's ID,
/// the code, and when compiling began.
fn each_compiled<R>(
    config: &ApplicationConfig,
    report: impl Fn(&Engine, String, Compiled, Instant) -> Result<R, ComponentError>,
) -> Result<Vec<R>, LoadError> {
    let manifest = source::manifest(config)?;
    let engine =
        engine::new(config.instances.max_memory.as_usize(), pool_capacity(&config.instances, &manifest)?)?;
    let cache = cache(&config.code);
    let reported = manifest.components.iter().map(|component| {
        let started = Instant::now();
        let compiled = compiled(&engine, &cache, component, &Binary::of(&component.source)?, &|| {})?;
        let name = component.id.clone();
        report(&engine, name, compiled, started)
            .map_err(|cause| LoadError::Component { name: component.id.clone(), cause })
    });
    reported.collect()
}
