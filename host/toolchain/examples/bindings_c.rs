//! Generates the bindings for C from the contract: `cargo run -p tidemill-toolchain --example bindings_c -- sdk/c/component [--check]`.
//! `tools/bindings` calls it.
//!
//! One folder for each world, and the same names in each, so that the SDK can be compiled for any of them. The description of the
//! world that the generator would put into an object file is left out: `tidemill build` embeds it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
const WORLDS: [&str; 3] = ["handler", "projection", "projection-with-queries"];

/// What the generator calls the world in file names and types.
const NAME: &str = "plugin";

fn main() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let (folder, check) = match (arguments.next(), arguments.next().as_deref()) {
        (Some(folder), None) => (PathBuf::from(folder), false),
        (Some(folder), Some("--check")) => (PathBuf::from(folder), true),
        _ => bail!("usage: bindings FOLDER [--check]"),
    };
    let mut stale = false;
    for world in WORLDS {
        for (name, text) in generate(world)?.iter() {
            let path = folder.join(world).join(name);
            if !check {
                write(&path, text)?;
            } else if fs::read(&path).ok().as_deref() != Some(text) {
                eprintln!("bindings: {} is not what the contract makes; run tools/bindings", path.display());
                stale = true;
            }
        }
    }
    Ok(if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn generate(world: &str) -> Result<Files> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(CONTRACT)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let options =
        wit_bindgen_c::Opts { no_object_file: true, rename_world: Some(NAME.to_owned()), ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files)
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(path, text).with_context(|| path.display().to_string())
}
