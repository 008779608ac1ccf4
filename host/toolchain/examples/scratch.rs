#![allow(missing_docs, clippy::all, reason = "scratch")]
use std::path::{Path, PathBuf};
use tidemill_toolchain::*;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    match a[0].as_str() {
        "build" => {
            let p = Project::open(Path::new(&a[1])).unwrap_or_else(|e| { eprintln!("{e}"); std::process::exit(1) });
            let t = std::time::Instant::now();
            match build(&p, Options { debug: a.len() > 3, progress: &|s| eprintln!("  {s}") }) {
                Ok(b) => { println!("{} {:?} {} bytes {:?}", p.name, p.language, b.len(), t.elapsed()); std::fs::write(&a[2], b).unwrap() }
                Err(e) => { eprintln!("{e}"); std::process::exit(1) }
            }
        }
        _ => {
            let kind = if a[1] == "handler" { Kind::Handler } else { Kind::Projection };
            let language = *Language::ALL.iter().find(|l| l.word() == a[2]).unwrap();
            let name = serde_name(&a[3]);
            let p = NewProject { kind, language, name, dir: PathBuf::from(&a[4]) };
            println!("{:?}", p.create().unwrap());
        }
    }
}
fn serde_name(n: &str) -> tidemill_core::name::PluginName { tidemill_core::name::PluginName::try_new(n).unwrap() }
