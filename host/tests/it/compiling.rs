//! Compiling apart and starting warm, with the real binary as the child: whatever the file and the child do, the host
//! serves on and says what happened.

mod bombs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill_core::config::PluginConfig;
use tidemill_core::event::Event;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Call, CallSettings, Handler, Origin, Role};
use tidemill_core::subject::SubjectPattern;
use tidemill_engine::{ChildCompiler, CompileError, CompileLimits, Compiler, Engine, EngineOptions, LoadError, Plugin};

use crate::harness::{Home, On, root};
use crate::shop::shop_config;

/// The real child.
fn tidemill(limits: CompileLimits) -> ChildCompiler {
    ChildCompiler { limits, ..ChildCompiler::new(env!("CARGO_BIN_EXE_tidemill"), ["compile-component"]) }
}

/// A stand-in for a compiler that goes wrong: a line for the shell.
fn shell(line: &str) -> ChildCompiler {
    let limits = CompileLimits { wall: Duration::from_secs(60), ..CompileLimits::default() };
    ChildCompiler { limits, ..ChildCompiler::new("/bin/sh", ["-c", line]) }
}

fn engine(compiler: ChildCompiler, cache_dir: Option<PathBuf>) -> Engine {
    Engine::new(EngineOptions { compiler: Compiler::Child(compiler), cache_dir, ..EngineOptions::default() }).unwrap()
}

fn fraud_check() -> Vec<u8> {
    fs::read(root().join("plugins/fraud-check.wasm")).unwrap()
}

fn load(engine: &Engine, component: &[u8]) -> Result<Plugin, LoadError> {
    engine.load(&PluginName::try_new("fraud-check").unwrap(), component, &PluginConfig::default(), Role::Handler)
}

fn refusal(compiler: ChildCompiler) -> CompileError {
    match load(&engine(compiler, None), &fraud_check()) {
        Err(LoadError::Compile(why)) => why,
        Err(other) => panic!("the file {other}"),
        Ok(_) => panic!("it was loaded"),
    }
}

/// One order for `fraud-check`, which must answer with one emit.
async fn check_an_order(plugin: &Plugin) {
    let event = Event {
        id: "e-1".to_owned(),
        source: "/shop".to_owned(),
        kind: "OrderCreated".to_owned(),
        time: Some("2026-11-21T10:00:00Z".to_owned()),
        subject: None,
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        version: None,
        extensions: Vec::new(),
        data: Bytes::from_static(
            br#"{"order_id":"ord-1","customer_id":"cus-1","total":2500.0,"currency":"EUR","country":"DE","items":[]}"#,
        ),
    };
    let settings = Arc::new(CallSettings {
        route: RouteName::try_new("fraud").unwrap(),
        plugin: PluginName::try_new("fraud-check").unwrap(),
        max_attempts: 5,
        timeout: Duration::from_secs(5),
        grant: Grant { emits: vec![SubjectPattern::try_new("fraud.>").unwrap()] },
        limits: Limits::default(),
    });
    let origin = Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 7 };
    let call = Call { event: &event, route: &settings, attempt: 1, origin: &origin, state: None, documents: None };
    assert_eq!(plugin.handle(call).await.unwrap().emits.len(), 1);
}

#[tokio::test]
async fn a_plugin_that_is_compiled_apart_runs_in_the_hosts_engine() {
    let plugin = load(&engine(tidemill(CompileLimits::default()), None), &fraud_check()).unwrap();
    assert!(!plugin.describe().cached);
    check_an_order(&plugin).await;
}

#[tokio::test]
async fn a_broken_component_is_told_in_the_compilers_words() {
    let component = fraud_check();
    let why = load(&engine(tidemill(CompileLimits::default()), None), &component[..component.len() / 2]).err().unwrap();
    assert!(matches!(why, LoadError::Broken(_)), "{why:?}");
    assert!(why.to_string().contains("out of bounds"), "{why}");
}

#[test]
fn a_child_that_crashes_is_a_refusal_that_says_how() {
    for (line, how) in [
        (
            "cat > /dev/null; kill -SEGV $$",
            "made the compiler crash (SIGSEGV, an access to memory that it does not have);",
        ),
        ("cat > /dev/null; kill -ABRT $$", "made the compiler crash (SIGABRT, it gave up by itself);"),
        (
            "kill -KILL $$",
            "made the compiler crash (SIGKILL, which the kernel sends when the machine is out of memory);",
        ),
        (
            "cat > /dev/null; echo \"thread 'compiler' panicked at regalloc.rs:1\" >&2; exit 101",
            "made the compiler crash (exit code 101): thread 'compiler' panicked at regalloc.rs:1;",
        ),
        (
            "cat > /dev/null; echo \"thread 'compiler' has overflowed its stack\" >&2; kill -ABRT $$",
            "made the compiler crash (SIGABRT, it gave up by itself): thread 'compiler' has overflowed its stack;",
        ),
        ("kill -XCPU $$", "took more than 120s of CPU time to compile"),
        ("echo 'memory allocation of 4096 bytes failed' >&2; kill -ABRT $$", "needs more than 3072 MiB of memory"),
    ] {
        let told = refusal(shell(line)).to_string();
        assert!(told.starts_with(how), "{line}: {told}");
    }
}

#[test]
fn a_child_that_answers_garbage_is_not_believed() {
    for (line, found) in [
        ("cat > /dev/null", "0 bytes that are not an answer"),
        ("cat > /dev/null; echo hello", "6 bytes that are not an answer"),
        // It announces 5 bytes of code and gives 4.
        ("printf 'tm-code!\\005\\0\\0\\0\\0\\0\\0\\0%032dcode' 0", "52 bytes where it announced 53"),
        ("printf 'tm-code!\\004\\0\\0\\0\\0\\0\\0\\0%032dcode' 0", "code that its digest does not fit"),
    ] {
        assert_eq!(refusal(shell(line)), CompileError::Garbled(found.to_owned()), "{line}");
    }
}

#[test]
fn a_child_that_never_ends_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    // The shell starts a second process, which holds the pipes open.
    let line = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
    let limit = Duration::from_secs(1);
    let child = ChildCompiler { limits: CompileLimits { wall: limit, ..CompileLimits::default() }, ..shell(&line) };
    let begun = Instant::now();
    assert_eq!(refusal(child), CompileError::Time { limit });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let started = fs::read_to_string(pid_file).unwrap();
    gone(&Path::new("/proc").join(started.trim()));
}

/// Waits until a process has ended; a dead one that nobody has collected yet counts.
fn gone(process: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "{} is still there", process.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_child_that_floods_its_output_is_ended_at_the_limit() {
    let limit = 1 << 20;
    let limits = CompileLimits { code: limit, wall: Duration::from_secs(60), ..CompileLimits::default() };
    let flood = ChildCompiler { limits: limits.clone(), ..shell("cat /dev/zero") };
    assert_eq!(refusal(flood), CompileError::CodeSize { limit });
    // A flood of complaints is read and forgotten; the end still counts.
    let complaints = ChildCompiler { limits, ..shell("head -c 10000000 /dev/zero >&2; exit 3") };
    assert!(matches!(refusal(complaints), CompileError::Crashed { how, .. } if how == "exit code 3"));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let told = refusal(ChildCompiler::new("/nowhere/tidemill", ["compile-component"])).to_string();
    assert!(
        told.starts_with("could not be compiled, because the compiler `/nowhere/tidemill` cannot be started"),
        "{told}"
    );
}

#[test]
fn a_host_that_stops_does_not_wait_for_its_compiler() {
    let engine = Arc::new(engine(shell("sleep 1000"), None));
    let begun = Instant::now();
    // Two that are compiled, and one that waits for its turn.
    let loading: Vec<_> = (0..3)
        .map(|_| {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || load(&engine, &fraud_check()).err().unwrap().to_string())
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    engine.stop_loading();
    for told in loading {
        assert_eq!(told.join().unwrap(), "was not compiled, because the host is stopping");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn the_environment_of_the_host_stays_in_the_host() {
    assert!(std::env::var_os("PATH").is_some(), "there is something to keep");
    let told = refusal(shell("cat > /dev/null; env | cut -d= -f1 | sort | tr '\\n' ' ' >&2; exit 9"));
    let CompileError::Crashed { said, .. } = told else { panic!("{told}") };
    let names: Vec<&str> =
        said.split_whitespace().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(names, ["RAYON_NUM_THREADS", "RUST_MIN_STACK"]);
}

#[test]
fn the_verb_is_hidden_and_tells_a_person_what_it_is_for() {
    let home = Home::new(On::Embedded, "version: 1\nroutes: []");
    assert!(!home.run(&["--help"]).out.contains("compile-component"));
    let ran = home.run(&["compile-component"]);
    assert_eq!(ran.code, 70, "{}", ran.err);
    let mut command = home.command(&["compile-component"]);
    let file = home.path("some.txt");
    fs::write(&file, "a component, or what a person takes for one").unwrap();
    let output = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("`tidemill check` compiles plugins"));
}

#[test]
fn the_second_start_of_the_shop_compiles_nothing() {
    let home = Home::new(On::Embedded, &shop_config());
    let loaded = |expected: &str| {
        let ran = home.run(&["--log-format", "json", "run", "--until-idle"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let lines: Vec<serde_json::Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let cached: Vec<String> = lines
            .iter()
            .filter(|line| line["message"] == "A build serves")
            .map(|line| format!("{} {}", line["plugin"].as_str().unwrap(), line["cached"]))
            .collect();
        assert_eq!(cached.len(), 9, "{}", ran.err);
        assert!(cached.iter().all(|plugin| plugin.ends_with(expected)), "{cached:?}");
        let ready = lines.iter().find(|line| line["message"] == "Tidemill is ready").unwrap();
        println!("ready in {} when cached is {expected}", ready["ready_in"]);
    };
    loaded("false");
    loaded("true");
}

#[test]
fn an_entry_of_the_cache_that_was_tampered_with_is_told_once_by_its_name_and_reason() {
    let home = Home::new(On::Embedded, &shop_config());
    assert_eq!(home.run(&["check"]).code, 0);
    let entries = fs::read_dir(home.path(".tidemill/plugins/compiled")).unwrap().map(|entry| entry.unwrap().path());
    let entry = entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "code")).unwrap();
    let mut bytes = fs::read(&entry).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&entry, bytes).unwrap();

    let ran = home.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let warnings: Vec<&str> = ran.err.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.err);
    for part in [
        "Compiled code in the cache is not used; the plugin is compiled anew",
        &entry.file_name().unwrap().to_string_lossy(),
        "its seal does not fit: it was changed, or sealed with another key",
    ] {
        assert!(warnings[0].contains(part), "{part} in {}", warnings[0]);
    }
    assert_eq!(home.run(&["check"]).err, "", "it was replaced");
}

#[test]
fn what_lies_beside_a_plugin_is_not_opened() {
    let home = Home::new(
        On::Embedded,
        &fs::read_to_string(root().join("runtime.yaml"))
            .unwrap()
            .replace("./examples/shop/schemas", &root().join("examples/shop/schemas").display().to_string()),
    );
    home.install(&[
        "account-creator",
        "customer-validator",
        "customer-view",
        "customs-clearance",
        "fraud-check",
        "order-analytics",
        "order-view",
        "payment-capture",
        "welcome-mailer",
    ]);
    // A pipe that nobody writes to would hold up whoever opens it.
    for beside in ["fraud-check.wasm.dwp", "fraud-check.dwp"] {
        assert!(Command::new("mkfifo").arg(home.path("plugins").join(beside)).status().unwrap().success());
    }
    let mut checking = home.command(&["check"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let status = loop {
        if let Some(status) = checking.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            checking.kill().unwrap();
            panic!("`check` waits for a pipe");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
}

#[test]
fn a_file_above_the_size_cap_is_refused_before_it_is_read() {
    let home = Home::new(
        On::Embedded,
        &shop_config().replace(&format!("dir: {}/plugins", root().display()), "dir: ./plugins"),
    );
    home.write("plugins/fraud-check.wasm", "");
    let file = fs::File::options().write(true).open(home.path("plugins/fraud-check.wasm")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let ran = home.run(&["check"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("is larger than 67108864 bytes, the most that is read"), "{}", ran.err);
}

/// The child that a process has started: its folder below `/proc`.
fn child_of(parent: u32) -> PathBuf {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            // `pid (name) state parent …`
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent_of = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            if parent_of.and_then(|id| id.parse().ok()) == Some(parent) {
                return entry.path();
            }
        }
        assert!(Instant::now() < deadline, "it started no child");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_child_is_bound_by_its_limits_and_dies_with_the_host() {
    let config = r#"
version: 1
streams: [{ name: S, subjects: ["s.>"] }]
schemas: { on_missing: allow }
routes: [{ name: r, source: { stream: S }, handler: bomb }]
"#;
    let home = Home::new(On::Embedded, config);
    fs::create_dir_all(home.path("plugins")).unwrap();
    fs::write(home.path("plugins/bomb.wasm"), bombs::bomb("a-million-functions")).unwrap();
    let mut host = home.command(&["check"]).spawn().unwrap();
    let child = child_of(host.id());

    let deadline = Instant::now() + Duration::from_secs(60);
    let bound = |limits: &str| {
        [("Max address space", "3221225472"), ("Max cpu time", "120"), ("Max core file size", "0")].iter().all(
            |(name, value)| {
                limits.lines().any(|line| line.starts_with(name) && line.split_whitespace().any(|word| word == *value))
            },
        )
    };
    while !bound(&fs::read_to_string(child.join("limits")).unwrap()) {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(child.join("limits")).unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    host.kill().unwrap();
    host.wait().unwrap();
    gone(&child);
}

/// What a host measured while a bomb was compiled.
struct Measured {
    told: String,
    /// Growth of the host's resident memory, at its peak.
    grown_mib: u64,
    /// Calls of another plugin meanwhile.
    calls: u64,
    /// The longest of them, in milliseconds.
    slowest: u64,
}

/// Loads a bomb in a process of its own, so that nothing else grows.
fn explode(bomb: &str) -> Measured {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "compiling::one_bomb", "--ignored", "--nocapture"])
        .env("TIDEMILL_TEST_BOMB", bomb)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    let value = |name: &str| out.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{out}"));
    println!("{bomb}: {out}");
    Measured {
        told: value("told=").to_owned(),
        grown_mib: value("grown_mib=").parse().unwrap(),
        calls: value("calls=").parse().unwrap(),
        slowest: value("slowest=").parse().unwrap(),
    }
}

fn resident_kib(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the tests of bombs start"]
async fn one_bomb() {
    let bomb = bombs::bomb(&std::env::var("TIDEMILL_TEST_BOMB").unwrap());
    let limits =
        CompileLimits { memory: 1 << 30, cpu: Duration::from_secs(4), wall: Duration::from_secs(12), code: 32 << 20 };
    let engine = Arc::new(engine(tidemill(limits), None));
    let plugin = load(&engine, &fraud_check()).unwrap();
    check_an_order(&plugin).await;
    let before = resident_kib("VmRSS:");
    // The peak is counted from here.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let loading = tokio::task::spawn_blocking(move || load(&engine, &bomb).err().unwrap());
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    while !loading.is_finished() || calls == 0 {
        let begun = Instant::now();
        check_an_order(&plugin).await;
        slowest = slowest.max(begun.elapsed());
        calls += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let grown = resident_kib("VmHWM:").saturating_sub(before);
    let slowest = slowest.as_millis();
    println!("\ntold={}\ngrown_mib={}\ncalls={calls}\nslowest={slowest}", loading.await.unwrap(), grown / 1024);
    // What would grow would be seen; the bomb, which counted before, is gone.
    let ballast = vec![1_u8; 256 << 20];
    assert!(!std::hint::black_box(&ballast).is_empty());
    assert!(resident_kib("VmHWM:") > before + (64 << 10));
}

/// The bomb is refused with one of these words, the host stays as small as it was, and others are served meanwhile.
fn is_harmless(bomb: &str, expected: &[&str]) {
    let Measured { told, grown_mib, calls, slowest } = explode(bomb);
    assert!(expected.iter().any(|beginning| told.starts_with(beginning)), "{bomb}: {told}");
    assert!(grown_mib < 64, "{bomb}: the host grew by {grown_mib} MiB");
    assert!(calls > 0 && slowest < 1000, "{bomb}: {calls} calls, the slowest took {slowest} ms");
}

/// A limit that was used up. Which one comes first depends on the machine.
const LIMITS: [&str; 4] =
    ["took more than 4s of CPU", "took more than 12s", "needs more than 1024 MiB", "becomes more than"];

#[test]
fn a_component_without_malice_is_compiled_and_refused_for_its_world() {
    is_harmless("nothing-special", &["does not export `tidemill:plugin/event-handler"]);
}

#[test]
fn one_huge_function_is_harmless() {
    is_harmless("one-huge-function", &LIMITS);
}

#[test]
fn a_million_functions_are_harmless() {
    is_harmless("a-million-functions", &LIMITS);
}

#[test]
fn deep_nesting_is_harmless() {
    is_harmless("deep-nesting", &[&LIMITS[..], &["made the compiler crash", "does not export"]].concat());
}

#[test]
fn fifty_megabytes_of_names_are_harmless() {
    is_harmless("huge-names", &[&LIMITS[..], &["does not export"]].concat());
}

#[test]
fn wide_jump_tables_are_harmless() {
    is_harmless("wide-tables", &[&LIMITS[..], &["does not export"]].concat());
    // The compiler's own limit.
    is_harmless("too-wide-a-table", &["is damaged, incomplete, or needs a WebAssembly feature"]);
}
