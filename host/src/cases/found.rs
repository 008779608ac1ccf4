//! The files of cases: those that are named, else all below the configuration's folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::config::cases::{self, Case};

use crate::exit::{Coded, Kind};
use crate::files::counted;

/// How a file of cases is called.
const SUFFIX: &str = "_test.yaml";

/// Folders that hold what others made.
const FOREIGN: [&str; 4] = ["target", "node_modules", "vendor", "__pycache__"];

/// Deeper folders are taken for a loop of links.
const MAX_DEPTH: usize = 16;

/// A file that was read and understood.
#[derive(Debug)]
pub struct TestFile {
    pub path: PathBuf,
    pub text: String,
    pub cases: Vec<Case>,
}

/// The files, in the order of their paths. A folder stands for all files of cases below it. A file that is named more than once is
/// there once: its cases run once, and `--update` writes it once.
pub fn find(named: &[PathBuf], usual: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if named.is_empty() {
        collect(usual, &mut found, 0)?;
        found.sort();
    }
    for path in named {
        if path.is_dir() {
            let from = found.len();
            collect(path, &mut found, 0)?;
            found[from..].sort();
        } else {
            found.push(path.clone());
        }
    }
    let place = if named.is_empty() { format!("below `{}`", usual.display()) } else { "there".to_owned() };
    if found.is_empty() {
        return Err(anyhow!("there are no cases {place}: no file is called `…{SUFFIX}`")).coded(Kind::BadData);
    }
    let mut known = BTreeSet::new();
    // What is not there is told when it is read.
    found.retain(|path| known.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("reading the folder `{}`", dir.display()));
    for entry in entries.coded(Kind::BadData)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
            collect(&path, found, depth + 1)?;
        } else if !kind.is_dir() && name.ends_with(SUFFIX) {
            // `./` in front says nothing.
            found.push(path.strip_prefix("./").map_or(path.clone(), Path::to_owned));
        }
    }
    Ok(())
}

/// Reads all of them; the mistakes of all of them at once.
pub fn read(paths: Vec<PathBuf>, config: &RuntimeConfig) -> Result<Vec<TestFile>> {
    let (mut files, mut mistakes, mut count) = (Vec::new(), String::new(), 0);
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("reading the cases `{}`", path.display()));
        let text = text.coded(Kind::BadData)?;
        match cases::load(&text, config) {
            Ok(cases) => files.push(TestFile { path, text, cases }),
            Err(diagnostics) => {
                mistakes += &diagnostics.lines(&path.display().to_string());
                count += diagnostics.iter().count();
            }
        }
    }
    if count > 0 {
        return Err(anyhow!("{mistakes}{}. Nothing was run.", counted(count, "error"))).coded(Kind::BadData);
    }
    Ok(files)
}
