use std::path::PathBuf;
use tidemill_core::config::manifest::Language;
use tidemill_core::name::PluginName;
use tidemill_toolchain::{Kind, NewProject, Options, Project};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    match a[1].as_str() {
        "new" => {
            let kind = if a[2] == "handler" { Kind::Handler } else { Kind::Projection };
            let language = Language::ALL.into_iter().find(|l| l.word() == a[3]).unwrap();
            NewProject { kind, language, name: PluginName::try_new(&a[4]).unwrap(), dir: PathBuf::from(&a[5]) }
                .create()
                .unwrap();
        }
        _ => {
            let project = Project::open(&PathBuf::from(&a[2])).unwrap();
            match tidemill_toolchain::build(&project, Options { debug: false, progress: &|s| println!("  {s}") }) {
                Ok(b) => println!("OK {} bytes", b.len()),
                Err(e) => {
                    println!("ERR {e}");
                    std::process::exit(1)
                }
            }
        }
    }
}
