//! The projects, made and built as a person does it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder;

/// As `tidemill new --lang` calls them.
pub(crate) const LANGUAGES: [&str; 8] = ["rust", "c", "cpp", "zig", "go", "js", "ts", "python"];

const TIDEMILL: &str = env!("CARGO_BIN_EXE_tidemill");

/// The components of the small and the large handler.
pub(crate) fn build(language: &str) -> (PathBuf, PathBuf) {
    let (dir, out) = (folder().join(language), folder().join(language).join("plugins"));
    std::fs::remove_dir_all(&dir).ok();
    std::fs::create_dir_all(&dir).unwrap();
    run(&dir, TIDEMILL, &["new", "handler", "--lang", language, "small"]);
    if dir.join("small/package.json").is_file() {
        run(&dir.join("small"), "npm", &["install", "--no-audit", "--no-fund", "--silent"]);
    }
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages").join(language);
    for project in [dir.join("small"), scenario] {
        run(&dir, TIDEMILL, &["build", "--out", &out.to_string_lossy(), &project.to_string_lossy()]);
    }
    (out.join("small.wasm"), out.join("payments.wasm"))
}

fn run(dir: &Path, program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).current_dir(dir).env_remove("CARGO_TARGET_DIR").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}{told}", String::from_utf8_lossy(&output.stdout));
}
