//! What `compile` and `inspect` do: they load what a configuration names, and serve nothing.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use wasi_http_host_manifest::Component;
use wasi_http_host_runtime::{Inspection, Linked, engine};

use super::{
    ApplicationConfig, Binary, LoadError,
    bounds::room,
    loader::{cache, compiled},
    source,
};

/// What `compile` did with a component.
#[derive(Debug)]
pub struct CompileReport {
    /// Its name.
    pub component: String,
    /// The file that holds the code; none without a cache.
    pub file: Option<PathBuf>,
    /// It was there already.
    pub from_cache: bool,
    /// How long it took.
    pub duration: Duration,
}

/// Compiles each component that `config` names, so that a later start finds the code in the cache.
///
/// # Errors
/// As [`Loader::load`](super::Loader::load).
pub fn compile(config: &ApplicationConfig) -> Result<Vec<CompileReport>, LoadError> {
    let manifest = source::manifest(config)?;
    let engine = engine::new(config.instances.max_memory.as_usize(), room(&config.instances, &manifest)?)?;
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

/// A component's name, and what it imports and exports.
#[derive(Debug)]
pub struct Inspected {
    /// Its name.
    pub component: String,
    /// What was found.
    pub inspection: Inspection,
}

/// What each component that `config` names imports and exports.
///
/// # Errors
/// As [`compile`], but for what a component lacks or needs, which the inspection itself tells.
pub fn inspect(config: &ApplicationConfig) -> Result<Vec<Inspected>, LoadError> {
    let manifest = source::manifest(config)?;
    let engine = engine::new(config.instances.max_memory.as_usize(), room(&config.instances, &manifest)?)?;
    let cache = cache(&config.code);
    let inspect = |component: &Component| {
        let compiled = compiled(&engine, &cache, component, &Binary::of(&component.source)?, &|| {})?;
        let failed = |cause| LoadError::Component { name: component.id.clone(), cause };
        let inspection = Inspection::new(&engine, &compiled.component).map_err(failed)?;
        Ok(Inspected { component: component.id.clone(), inspection })
    };
    manifest.components.iter().map(inspect).collect()
}
