//! What lies before and behind Go's compiler: bindings for a world, and a component of the module that was compiled with them.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_bindgen_core::{
    Files,
    wit_parser::{Resolve, WorldId},
};
use wit_component::{ComponentEncoder, StringEncoding};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bindings", wit, world, dir] => bindings(wit, world, dir.as_ref()),
        ["component", wit, world, module, out] => component(wit, world, module, out),
        _ => bail!("componentize bindings WIT WORLD DIR | component WIT WORLD MODULE OUT"),
    }
}

/// Writes the Go module `wit_component` into `dir`; what the world exports is to be put beside it, in the packages that it names.
fn bindings(wit: &str, world: &str, dir: &Path) -> Result<()> {
    let (mut resolve, world) = select(wit, world)?;
    // Without Go's formatter, which nobody needs here.
    let options = wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        let path = dir.join(name);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Makes a component of a WASI 0.1 reactor that implements the world.
fn component(wit: &str, world: &str, module: &str, out: &str) -> Result<()> {
    let (resolve, world) = select(wit, world)?;
    let mut bytes = fs::read(module).with_context(|| module.to_owned())?;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8, false)?;
    let component = ComponentEncoder::default().module(&bytes)?.adapter(ADAPTER_NAME, ADAPTER)?.encode()?;
    fs::write(out, component).with_context(|| out.to_owned())
}

fn select(wit: &str, world: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| wit.to_owned())?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}
