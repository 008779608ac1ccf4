//! The projects, made and built as a person does it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder;

/// As `tidemill new --lang` calls them.
pub(crate) const LANGUAGES: [&str; 8] = ["rust", "c", "cpp", "zig", "go", "js", "ts", "python"];

const TIDEMILL: &str = env!("CARGO_BIN_EXE_tidemill");

/// What a project's handlers were built to.
pub(crate) struct Built {
    pub(crate) small: PathBuf,
    /// The small one without its line in the log.
    pub(crate) silent: PathBuf,
    pub(crate) large: PathBuf,
}

pub(crate) fn build(language: &str) -> Built {
    let (dir, out) = (folder().join(language), folder().join(language).join("plugins"));
    std::fs::remove_dir_all(&dir).ok();
    std::fs::create_dir_all(&dir).unwrap();
    run(&dir, TIDEMILL, &["new", "handler", "--lang", language, "small"]);
    if dir.join("small/package.json").is_file() {
        run(&dir.join("small"), "npm", &["install", "--no-audit", "--no-fund", "--silent"]);
    }
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages").join(language);
    let build = |project: &Path, out: &Path| {
        run(&dir, TIDEMILL, &["build", "--out", &out.to_string_lossy(), &project.to_string_lossy()]);
    };
    build(&dir.join("small"), &out);
    build(&scenario, &out);
    silence(&dir.join("small"));
    build(&dir.join("small"), &out.join("silent"));
    Built { small: out.join("small.wasm"), silent: out.join("silent/small.wasm"), large: out.join("payments.wasm") }
}

/// Takes the line out by which the small handler logs, and what Go imports for it.
fn silence(project: &Path) {
    let folder = if project.join("src").is_dir() { project.join("src") } else { project.to_owned() };
    let mut taken = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let logs = |line: &&str| line.contains("\"an order\"") || line.contains("tidemill.dev/tidemill/log");
        taken += text.lines().filter(logs).count();
        let rest: String = text.lines().filter(|line| !logs(line)).map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, rest).unwrap();
    }
    assert!(taken > 0, "the small handler in {} logs in another way", project.display());
}

/// The small handler in Python on what componentize-py generates, without the SDK and without a log.
pub(crate) fn build_bare_python() -> PathBuf {
    const WORLD: &str = "package bench:bare;\n\nworld plugin {\n    import tidemill:plugin/emit@0.2.0;\n    export tidemill:plugin/event-handler@0.2.0;\n}\n";
    let (dir, root) = (folder().join("bare-python"), Path::new(env!("CARGO_MANIFEST_DIR")));
    std::fs::create_dir_all(dir.join("wit")).unwrap();
    std::fs::write(dir.join("wit/plugin.wit"), WORLD).unwrap();
    std::fs::copy(root.join("benches/languages/bare.py"), dir.join("bare.py")).unwrap();
    let contract = root.join("../wit");
    let contract = contract.to_string_lossy();
    let options = ["-q", "-d", &contract, "-d", "wit", "-w", "bench:bare/plugin", "componentize"];
    run(&dir, "componentize-py", &[&options[..], &["-p", ".", "bare", "-o", "bare.wasm"]].concat());
    dir.join("bare.wasm")
}

fn run(dir: &Path, program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).current_dir(dir).env_remove("CARGO_TARGET_DIR").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}{told}", String::from_utf8_lossy(&output.stdout));
}
