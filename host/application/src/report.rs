//! The commands `compile` and `inspect`, which load the components of a configuration and do not serve.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use wasi_http_host_manifest::Component;
use wasi_http_host_runtime::{Inspection, Linked, engine};

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
    let manifest = source::manifest(config)?;
    let engine =
        engine::new(config.instances.max_memory.as_usize(), pool_capacity(&config.instances, &manifest)?)?;
    let cache = cache(&config.code);
    let compile = |component: &Component| {
        let started = Instant::now();
        let compiled = compiled(&engine, &cache, component, &Binary::of(&component.source)?, &|| {})?;
        let failed = |cause| LoadError::Component { name: component.id.clone(), cause };
        Linked::new(&engine, &compiled.component, false).map_err(failed)?;
        Ok(CompileReport {
            component: component.id.clone(),
            file: compiled.file,
            from_cache: compiled.from_cache,
            duration: started.elapsed(),
        })
    };
    manifest.components.iter().map(compile).collect()
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
    let manifest = source::manifest(config)?;
    let engine =
        engine::new(config.instances.max_memory.as_usize(), pool_capacity(&config.instances, &manifest)?)?;
    let cache = cache(&config.code);
    let inspect = |component: &Component| {
        let compiled = compiled(&engine, &cache, component, &Binary::of(&component.source)?, &|| {})?;
        let failed = |cause| LoadError::Component { name: component.id.clone(), cause };
        let inspection = Inspection::new(&engine, &compiled.component).map_err(failed)?;
        Ok(Inspected { component: component.id.clone(), inspection })
    };
    manifest.components.iter().map(inspect).collect()
}
