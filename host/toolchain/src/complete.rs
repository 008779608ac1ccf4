//! A core module becomes a component: it gets the description of its world, and the adapter that turns WASI 0.1, which Go and
//! the C compilers speak, into WASI 0.2.

use tidemill_core::config::manifest::World;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

use crate::error::BuildError;
use crate::sdk;

/// Makes a component of a module that exports what `world` asks for.
pub(crate) fn complete(module: &[u8], world: World) -> Result<Vec<u8>, BuildError> {
    let wrong = |why: anyhow::Error| BuildError::NotThisWorld { world: world.word(), why: format!("{why:#}") };
    described(module, world)
        .and_then(|module| {
            ComponentEncoder::default()
                .validate(true)
                .module(&module)?
                .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
                .encode()
        })
        .map_err(wrong)
}

fn described(module: &[u8], world: World) -> anyhow::Result<Vec<u8>> {
    let mut contract = SourceMap::new();
    for (path, text) in sdk::contract() {
        contract.push_str(&path, text);
    }
    let contract = contract.parse().map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(contract)?;
    let world = resolve.select_world(&[package], Some(world.word()))?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}
