//! The edit loop as a person sees it: `tidemill init`, `dev` and `build --watch`, with sources that change while they are watched.
//!
//! In C, whose tools are the fastest. Needs them, as `languages.rs` does: `tools/test languages` runs both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The first build of a machine compiles a C library, too.
const PATIENCE: Duration = Duration::from_secs(300);

const SOURCE: &str = "handlers/order-check/src/order_check.c";

#[test]
fn an_application_is_begun_run_and_changed_in_one_terminal() {
    let (_dir, shop) = application();
    let mut dev = Running::start(&shop, &["dev", "--feed", "events.jsonl"]);
    dev.until("Feed is published", 1);
    dev.until("Done route=order-check", 3);
    dev.until("error=\"a total cannot be negative\"", 1);
    dev.until("error=\"/total: expected a number, found \\\"a lot\\\"\"", 1);

    // A build that rejects more than the one before it: it is what its author wants.
    edit(
        &shop.join(SOURCE),
        "if (total < 0) return tm_reject(\"a total cannot be negative\")",
        "if (total < 100) return tm_reject(\"too small\")",
    );
    dev.until("A build serves", 2);
    emit(&shop, "changed-1", 50);
    dev.until("error=\"too small\"", 1);

    edit(&shop.join(SOURCE), "#include", "#inclood");
    dev.until("src/order_check.c:", 1);
    dev.until("Not built; what runs goes on", 1);
    emit(&shop, "changed-2", 500);
    dev.until("Done route=order-check", 4);

    // Back to what was there: no other build, and nothing to take over.
    edit(&shop.join(SOURCE), "#inclood", "#include");
    dev.until("built in", 3);
    assert_eq!(dev.count("A build serves"), 2);
    dev.stop();
}

#[test]
fn a_project_that_is_named_while_dev_runs_is_built_and_served() {
    let (_dir, shop) = application();
    let mut dev = Running::start(&shop, &["dev"]);
    dev.until("Tidemill is ready", 1);
    let config = fs::read_to_string(shop.join("runtime.yaml")).unwrap();
    let route = "  - { name: second, source: { stream: ORDERS, start: all }, handler: second, emits: [\"checks.done\"] }\n\nplugins:";
    let project = "settings:\n    second: { project: ./handlers/second }";
    fs::write(shop.join("runtime.yaml"), config.replace("\nplugins:", route).replace("settings:", project)).unwrap();
    // Named first, made then.
    dev.until("`tidemill build handlers/second` makes it", 1);
    run(&shop, &["new", "handler", "--lang", "c", "second", "--dir", "handlers/second"]);
    dev.until("Route is running route=second", 1);
    emit(&shop, "one", 10);
    dev.until("Done route=second", 1);
    dev.stop();
}

#[test]
fn a_first_build_that_fails_is_waited_for() {
    let (_dir, shop) = application();
    edit(&shop.join(SOURCE), "#include", "#inclood");
    let mut dev = Running::start(&shop, &["dev"]);
    dev.until("There is no earlier build; waiting for a change", 1);
    edit(&shop.join(SOURCE), "#inclood", "#include");
    dev.until("Tidemill is ready", 1);
    dev.stop();
}

#[test]
fn what_plugin_yaml_and_runtime_yaml_say_is_read_again() {
    let (_dir, shop) = application();
    let (manifest, config) = (shop.join("handlers/order-check/plugin.yaml"), shop.join("runtime.yaml"));
    edit(&manifest, "world: handler", "world: projection");
    edit(&config, "project: ./handlers/order-check ", "project: ./handlers/order-chekc ");
    let mut dev = Running::start(&shop, &["dev"]);
    dev.until("There is no earlier build; waiting for a change", 1);
    dev.until("order-chekc", 1);
    edit(&config, "version: 1", "verzion: 1");
    dev.until("verzion", 1);
    edit(&config, "verzion: 1", "version: 1");
    edit(&config, "order-chekc", "order-check");
    dev.until("Not built", 2);
    edit(&manifest, "world: projection", "world: handler");
    dev.until("Tidemill is ready", 1);
    dev.stop();
}

#[test]
fn a_tool_that_comes_while_dev_waits_for_it_is_noticed() {
    let (_dir, shop) = application();
    let tools = shop.join("tools");
    fs::create_dir(&tools).unwrap();
    let zig = Command::new("sh").args(["-c", "command -v zig"]).output().unwrap().stdout;
    let zig = PathBuf::from(String::from_utf8(zig).unwrap().trim());
    assert!(zig.is_file(), "`tools/languages` prints a PATH that has a zig");
    let mut command = tidemill(&shop, &["dev"]);
    let mut dev = Running::of(command.env("PATH", &tools));
    dev.until("There is no earlier build; waiting for a change", 1);
    dev.until("needs zig", 1);
    std::os::unix::fs::symlink(zig, tools.join("zig")).unwrap();
    dev.until("Tidemill is ready", 1);
    dev.stop();
}

#[test]
fn a_configuration_without_projects_is_told_how_to_name_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("runtime.yaml"), "version: 1\n").unwrap();
    let output = tidemill(dir.path(), &["dev"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("`plugins.settings.<plugin>.project`") && told.contains("`tidemill new`"), "{told}");
}

#[test]
fn a_watched_project_is_built_again_when_it_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["new", "handler", "--lang", "c", "two-parts"]);
    let (source, component) = (dir.path().join("two-parts/src/two_parts.c"), dir.path().join("plugins/two-parts.wasm"));
    let mut watch = Running::start(dir.path(), &["build", "--watch", "--out", "plugins", "two-parts"]);
    watch.until("Waiting for changes", 1);
    let first = fs::read(&component).unwrap();

    edit(&source, "a total cannot be negative", "no total is negative");
    watch.until("built in", 2);
    let second = fs::read(&component).unwrap();
    assert!(first != second, "the component is what it was");

    edit(&source, "#include", "#inclood");
    watch.until("is not built", 1);
    assert!(fs::read(&component).unwrap() == second, "what was built before is gone");

    edit(&source, "#inclood", "#include");
    watch.until("built in", 3);
    assert!(fs::read(&component).unwrap() == second, "the same source makes another component");
}

/// What `tidemill init` makes.
fn application() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["init", "shop", "--lang", "c"]);
    let shop = dir.path().join("shop");
    (dir, shop)
}

/// Changes a file as an editor does: whole.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from:?} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

/// An order, to the host that runs.
fn emit(shop: &Path, id: &str, total: i64) {
    let event = format!(
        r#"{{"subject":"orders.created","event":{{"specversion":"1.0","id":"{id}","source":"/web","type":"OrderCreated","data":{{"id":"o-9","customer":"c-1","total":{total}}}}}}}"#
    );
    fs::write(shop.join("one.jsonl"), event).unwrap();
    run(shop, &["emit", "one.jsonl"]);
}

fn run(dir: &Path, arguments: &[&str]) {
    let output = tidemill(dir, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tidemill(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    command
}

/// A command that goes on, with what it has printed; killed when it is dropped.
struct Running {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        Self::of(&mut tidemill(dir, arguments))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = Arc::default();
        collect(child.stdout.take().unwrap(), &printed);
        collect(child.stderr.take().unwrap(), &printed);
        Self { child, printed }
    }

    /// Waits until it has printed as many lines with this text.
    fn until(&mut self, text: &str, lines: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(text) < lines {
            let ended = self.child.try_wait().unwrap().is_some();
            let printed = self.printed.lock().unwrap().join("\n");
            assert!(!ended && Instant::now() < deadline, "{text:?} is not printed {lines} times:\n{printed}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn count(&self, text: &str) -> usize {
        self.printed.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// As Ctrl-C does.
    fn stop(mut self) {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.printed.lock().unwrap().join("\n"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(stream: impl Read + Send + 'static, printed: &Arc<Mutex<Vec<String>>>) {
    let printed = Arc::clone(printed);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            printed.lock().unwrap().push(line);
        }
    });
}
