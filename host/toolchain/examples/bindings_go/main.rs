//! `tools/bindings`: writes what the SDKs generate from `wit/`; with `--check` it writes nothing and fails where that is stale.

mod go;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

fn main() -> Result<ExitCode> {
    let check = std::env::args().skip(1).any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut stale = Vec::new();
    let folder = root.join("sdk/go/internal/contract");
    for (name, text) in go::generate(&root.join("wit"))? {
        let path = folder.join(&name);
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        if check {
            stale.push(format!("sdk/go/internal/contract/{name}"));
        } else {
            write(&path, &text)?;
        }
    }
    for path in &stale {
        eprintln!("{path} is not what wit/ says; `tools/bindings` makes it anew");
    }
    Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("writing {}", path.display()))
}
