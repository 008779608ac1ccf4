//! The contract in this package is the repository's, copied: a package on its own must hold everything that it is built from.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

fn texts(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Older versions are the host's to know.
        if entry.file_type()?.is_dir() {
            continue;
        }
        texts.insert(entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?);
    }
    Ok(texts)
}

#[test]
fn the_copy_of_the_contract_is_current() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (ours, theirs) = (texts(&package.join("wit"))?, texts(&package.join("../../wit"))?);
    assert!(ours.len() > 5, "the contract has several files");
    for name in ours.keys().chain(theirs.keys()) {
        assert_eq!(ours.get(name), theirs.get(name), "sdk/rust/wit/{name} must be a copy of wit/{name}");
    }
    Ok(())
}

#[test]
fn the_readme_of_the_repository_shows_the_handler_that_is_tested_here() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let block = |file: &str, start: &str| {
        let text = std::fs::read_to_string(here.join(file)).expect("the file is there");
        let from = text.split_once(start).expect("the handler is there").1.to_owned();
        from.split_once("tidemill_sdk::handler!").expect("the handler ends").0.to_owned()
    };
    let start = "use tidemill_sdk::prelude::*;";
    assert_eq!(block("../../README.md", start), block("README.md", start));
}
