//! What the SDKs generate from the contract is what the contract says. `tools/bindings` makes it anew.

#[path = "../examples/bindings_go/go/mod.rs"]
mod go;

use std::fs;
use std::path::Path;

#[test]
fn the_bindings_for_go_are_current() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = go::generate(&root.join("wit"))?;
    assert!(files.len() > 5, "{:?}", files.keys());
    for (name, text) in files {
        let path = format!("sdk/go/internal/contract/{name}");
        let found = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(found == text, "{path} is not what wit/ says; `tools/bindings` makes it anew");
    }
    Ok(())
}
