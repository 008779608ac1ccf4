//! One behaviour in all languages: the scenario of `languages/README.md`, built from its projects by the real `tidemill build`,
//! and every event's outcome compared.
//!
//! And the pipeline of `examples/polyglot` beside the same one in Rust.
//!
//! Needs the languages' tools, which `tools/languages` installs; `tools/test languages` does both. Not a part of plain
//! `cargo test`, see `host/Cargo.toml`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_core::config::PluginConfig;
use tidemill_core::effect::Effects;
use tidemill_core::event::Event;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Admin, Broker, Call, CallSettings, Commit, Handler as _, Origin, ReadFrom, Receipt, Role};
use tidemill_core::state::StateSpace;
use tidemill_core::subject::SubjectPattern;
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::{Engine, EngineOptions, Level, LogLine, Performance, Plugin, Requests, Scene, Stage, Voice};

const MIB: u64 = 1024 * 1024;

/// One engine for all languages, as a host has one for all plugins.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineOptions::default()).unwrap());

/// A project of the scenario: its folder below `languages/`.
struct Language {
    folder: &'static str,
    /// Whether what its `throw` raises is caught by the SDK, which then asks for a retry. Otherwise it is a trap.
    catches: bool,
    /// What is told of the place that raised it.
    place: &'static str,
}

const fn language(folder: &'static str, catches: bool, place: &'static str) -> Language {
    Language { folder, catches, place }
}

const RUST: Language = language("rust", false, "src/lib.rs:");
const JS: Language = language("js", true, "at cause (src/index.js:");
const TS: Language = language("ts", true, "at trouble (src/trouble.ts:");
const PYTHON: Language = language("python", true, "File \"src/payments.py\", line ");
const GO: Language = language("go", false, "at main.cause (payments.go:");
const C: Language = language("c", false, "src/payments.c: make_trouble: ");
const CPP: Language = language("cpp", false, "");
const ZIG: Language = language("zig", false, "");

/// What `tidemill new` is asked for, and how the project's tests are run: as it says itself.
struct New {
    word: &'static str,
    setup: Option<&'static str>,
    test: &'static str,
}

const fn new(word: &'static str, setup: Option<&'static str>, test: &'static str) -> New {
    New { word, setup, test }
}

const NPM: Option<&str> = Some("npm install");

macro_rules! new_projects {
    ($($name:ident: $new:expr,)*) => {$(
        #[test]
        fn $name() {
            begin(&$new);
        }
    )*};
}

new_projects! {
    a_new_project_in_rust_works_at_once: new("rust", None, "cargo test"),
    a_new_project_in_javascript_works_at_once: new("js", NPM, "npm test"),
    a_new_project_in_typescript_works_at_once: new("ts", NPM, "npm test"),
    // Its setup installs what tools/languages has installed already.
    a_new_project_in_python_works_at_once: new("python", None, "python3 -m unittest"),
    a_new_project_in_go_works_at_once: new("go", None, "go test ./..."),
    a_new_project_in_c_works_at_once: new("c", None, "make test"),
    a_new_project_in_cpp_works_at_once: new("cpp", None, "make test"),
    a_new_project_in_zig_works_at_once: new("zig", None, "make test"),
}

/// `tidemill new`, its own test, `tidemill build`, for a handler and for a projection.
fn begin(new: &New) {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["handler", "projection"] {
        let name = format!("order-{kind}");
        let printed = run(dir.path(), env!("CARGO_BIN_EXE_tidemill"), &["new", kind, "--lang", new.word, &name]);
        assert!(printed.contains(new.test), "the next steps are told: {printed}");
        let project = dir.path().join(&name);
        for command in new.setup.into_iter().chain([new.test]) {
            run(&project, "sh", &["-c", command]);
        }
        let built = run(&project, env!("CARGO_BIN_EXE_tidemill"), &["build", "--out", "../plugins"]);
        assert!(built.contains(&format!("{kind}@0.2.0")), "{built}");
        assert!(dir.path().join(format!("plugins/{name}.wasm")).is_file());
    }
}

/// A new project without the line that makes it a handler: the file, what is taken out of it, what stands there instead, and what the
/// author is told to write.
struct Empty {
    word: &'static str,
    file: &'static str,
    taken: &'static str,
    instead: &'static str,
    told: &'static str,
}

macro_rules! empty_projects {
    ($($name:ident: $word:literal, $file:literal, $taken:literal => $instead:literal, $told:literal;)*) => {$(
        #[test]
        fn $name() {
            refuse(&Empty { word: $word, file: $file, taken: $taken, instead: $instead, told: $told });
        }
    )*};
}

empty_projects! {
    rust_without_a_handler_is_told_what_to_write: "rust", "src/lib.rs", "tidemill_sdk::handler!(TwoParts);" => "", "`tidemill_sdk::handler!(MyHandler);`";
    javascript_without_a_handler_is_told_what_to_write: "js", "src/index.js", "export default handler(" => "handler(", "`export default handler(";
    python_without_a_handler_is_told_what_to_write: "python", "src/two_parts.py", "@handler\n" => "", "write `@handler` above";
    go_without_a_handler_is_told_what_to_write: "go", "main.go", "func main() { handler.Handle(check) }" => "var _ = check\n\nfunc main() {}", "`func main() { handler.Handle(check) }`";
    c_without_a_handler_is_told_what_to_write: "c", "src/two_parts.c", "tidemill_handle(" => "some_function(", "define `tm_outcome tidemill_handle(";
    cpp_without_a_handler_is_told_what_to_write: "cpp", "src/two_parts.cpp", "tidemill_handle(" => "some_function(", "define `tm_outcome tidemill_handle(";
    zig_without_a_handler_is_told_what_to_write: "zig", "src/main.zig", "tidemill.exportHandler(handle);" => "_ = handle;", "`comptime { tidemill.exportHandler(handle); }`";
}

fn refuse(empty: &Empty) {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), env!("CARGO_BIN_EXE_tidemill"), &["new", "handler", "--lang", empty.word, "two-parts"]);
    let project = dir.path().join("two-parts");
    if empty.word == "js" {
        run(&project, "sh", &["-c", "npm install"]);
    }
    let file = project.join(empty.file);
    let text = std::fs::read_to_string(&file).unwrap();
    let without = text.replace(empty.taken, empty.instead);
    assert_ne!(text, without);
    let without =
        if empty.word == "go" { without.replace("\t\"tidemill.dev/tidemill/handler\"\n", "") } else { without };
    std::fs::write(&file, without).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["build", "--out", "../plugins"])
        .current_dir(&project)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(empty.told), "{told}");
    assert!(!dir.path().join("plugins/two-parts.wasm").exists());
}

/// Runs a program to its end, which must be a good one, and answers what it printed.
fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        // Cargo runs this test; a project of its own has a target folder of its own.
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {printed}{told}");
    printed
}

macro_rules! languages {
    ($($name:ident: $language:expr,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            check($language).await;
        }
    )*};
}

languages! {
    rust_does_as_all_do: RUST,
    javascript_does_as_all_do: JS,
    typescript_does_as_all_do: TS,
    python_does_as_all_do: PYTHON,
    go_does_as_all_do: GO,
    c_does_as_all_do: C,
    cpp_does_as_all_do: CPP,
    zig_does_as_all_do: ZIG,
}

/// The shop's projection has no plugin.yaml: its code says what it is.
#[test]
fn a_projection_in_rust_is_built_without_being_told_that_it_is_one() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop/plugins/order-view");
    let out = tempfile::tempdir().unwrap();
    let arguments = ["build", "--out", &out.path().to_string_lossy(), &project.to_string_lossy()];
    let built = run(Path::new("."), env!("CARGO_BIN_EXE_tidemill"), &arguments);
    assert!(built.contains("projection@0.2.0"), "{built}");
}

/// The customer pipeline in TypeScript, Go and Python leaves behind what the shop's, in Rust, does.
#[tokio::test]
async fn a_pipeline_in_three_languages_has_the_outcome_of_one_in_rust() {
    const STEPS: [&str; 3] = ["customer-validator", "account-creator", "welcome-mailer"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let example = root.join("examples/polyglot");
    let (polyglot, rust) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let projects = STEPS.map(|step| example.join(step).to_string_lossy().into_owned());
    let out = polyglot.path().join("plugins").to_string_lossy().into_owned();
    let mut arguments = vec!["build", "--out", &out];
    arguments.extend(projects.iter().map(String::as_str));
    run(Path::new("."), env!("CARGO_BIN_EXE_tidemill"), &arguments);
    std::fs::create_dir(rust.path().join("plugins")).unwrap();
    for step in STEPS {
        let file = format!("plugins/{step}.wasm");
        std::fs::copy(root.join(&file), rust.path().join(&file)).unwrap();
    }
    let config = std::fs::read_to_string(example.join("runtime.yaml")).unwrap();
    let schemas = root.join("examples/shop/schemas").canonicalize().unwrap();
    let config =
        config.replace("../shop/schemas", &schemas.to_string_lossy()) + "\nbroker: { embedded: { dir: ./data } }\n";
    let config: String =
        config.lines().filter(|line| !line.contains("project:")).map(|line| format!("{line}\n")).collect();
    // Of two customers with one address the first gets the account, so the order must be the same.
    let config = config.replace("    handler:", "    max_in_flight: 1\n    handler:");
    let mut came = Vec::new();
    for home in [polyglot.path(), rust.path()] {
        std::fs::write(home.join("runtime.yaml"), &config).unwrap();
        let feed = example.join("events.jsonl").to_string_lossy().into_owned();
        run(home, env!("CARGO_BIN_EXE_tidemill"), &["run", "--feed", &feed, "--until-idle"]);
        let mut stored = Vec::new();
        for stream in ["CUSTOMERS", "ACCOUNTS", "MAILS"] {
            stored.push(stored_in(&home.join("data"), stream).await);
        }
        came.push(stored);
    }
    let counts: Vec<usize> = came[0].iter().map(Vec::len).collect();
    assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
    assert_eq!(came[0], came[1]);
}

/// The subjects and the data of a stream's messages, sorted: routes do not wait for each other.
async fn stored_in(log: &Path, stream: &str) -> Vec<(String, String)> {
    let broker = EmbeddedBroker::open(log).unwrap();
    let stream = StreamName::try_new(stream).unwrap();
    let mut reader = broker.read(ReadFrom { stream, subjects: Vec::new(), after: 0 }).await.unwrap();
    let mut stored = Vec::new();
    loop {
        let stretch = reader.next(1000).await.unwrap();
        stored.extend(stretch.messages.iter().map(|it| {
            // Some of what comes in is no JSON, on purpose.
            let text = String::from_utf8_lossy(&it.message.payload).into_owned();
            let data = serde_json::from_str(&text).map_or(text, |mut data: Value| {
                // Made from the event's sequence, and the step before handles events side by side.
                data.as_object_mut().map(|members| members.remove("account_id"));
                data.to_string()
            });
            (it.message.subject.to_string(), data)
        }));
        if stretch.through >= stretch.last {
            stored.sort();
            return stored;
        }
    }
}

/// What is expected of one event, in every language.
enum Expected {
    /// The balance of the account afterwards.
    Recorded(i64),
    Rejected(&'static str),
    /// Rejected, in the language's own words.
    Unreadable,
    /// On the first attempt; on the second one the balance is this.
    RetriedThenRecorded(i64),
    /// The language's own exception.
    Thrown,
    Interrupted(FailureKind),
}

fn events() -> Vec<(Value, Expected)> {
    use Expected::{Interrupted, Recorded, Rejected, RetriedThenRecorded, Thrown, Unreadable};
    let payment = |id: &str, account: &str, amount: i64| {
        json!({
            "payment_id": id, "account": account, "amount": amount,
            "items": [
                { "sku": "MUG-001", "quantity": 2, "unit_price": 100 },
                { "sku": "TEA-\u{e9}\u{1f375}", "quantity": 1, "unit_price": amount - 200 },
            ],
        })
    };
    let with = |mut payment: Value, field: &str, value: Value| {
        payment[field] = value;
        payment
    };
    let trouble = |kind: &str| with(payment("p-x", "a-1", 1200), "trouble", json!(kind));
    vec![
        (payment("p-1", "a-1", 1200), Recorded(1200)),
        (payment("p-2", "a-2", 300), Recorded(300)),
        (payment("p-3", "a-1", 800), Recorded(2000)),
        (
            with(payment("p-4", "a-1", 1200), "amount", json!(1300)),
            Rejected("the amount is 1300, the items add up to 1200"),
        ),
        (payment("p-5", "a-1", 70_000), Rejected("70000 is above the limit of 50000")),
        (trouble("retry"), RetriedThenRecorded(3200)),
        (trouble("throw"), Thrown),
        (payment("p-6", "konto \"\u{e4}\u{f6}\u{fc}\" \u{1f980}\\", 500), Recorded(500)),
        (trouble("spin"), Interrupted(FailureKind::Timeout)),
        (payment("p-7", "a-2", 300), Recorded(600)),
        (trouble("memory"), Interrupted(FailureKind::OutOfMemory)),
        (with(payment("p-8", "a-1", 300), "amount", json!("three")), Unreadable),
        (json!([1, 2]), Unreadable),
        (json!({ "payment_id": "p-9" }), Unreadable),
        // What failed has left nothing behind.
        (payment("p-10", "a-1", 250), Recorded(3450)),
    ]
}

async fn check(language: Language) {
    let component = build(&language);
    let rig = Rig::new(&language, &component);
    for (at, (data, expected)) in events().into_iter().enumerate() {
        let what = format!("{}, event {at}: {data}", language.folder);
        rig.expect(&what, &data, expected).await;
    }
    rig.says_and_keeps_what_all_do().await;
    rig.is_flat_over_ten_thousand_calls().await;
}

/// Runs `tidemill build` on the project and answers the component.
fn build(language: &Language) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages").join(language.folder);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages").join(language.folder);
    let (out_text, project) = (out.to_string_lossy(), project.to_string_lossy());
    run(Path::new("."), env!("CARGO_BIN_EXE_tidemill"), &["build", "--out", &out_text, &project]);
    out.join("payments.wasm")
}

fn event(sequence: u64, data: &Value) -> Event {
    Event {
        id: format!("e-{sequence}"),
        source: "/shop".to_owned(),
        kind: "PaymentRequested".to_owned(),
        time: Some("2026-11-21T10:00:00Z".to_owned()),
        subject: None,
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        version: None,
        extensions: vec![("correlationid".to_owned(), "c-1".to_owned())],
        data: Bytes::from(data.to_string()),
    }
}

/// A loaded plugin with its state.
struct Rig {
    plugin: Arc<Plugin>,
    route: Arc<CallSettings>,
    space: Arc<StateSpace>,
    catches: bool,
    place: &'static str,
    is_collected: bool,
    sequence: std::sync::atomic::AtomicU64,
}

impl Rig {
    fn new(language: &Language, component: &Path) -> Self {
        let name = PluginName::try_new("payments").unwrap();
        let limits = Limits { memory: 64 * MIB, max_events_per_instance: 50_000, ..Limits::default() };
        let settings = PluginConfig {
            state: true,
            config: [("limit".to_owned(), "50000".to_owned())].into(),
            limits: limits.clone(),
            instances: Some(1),
            ..PluginConfig::default()
        };
        let plugin = ENGINE.load(&name, &std::fs::read(component).unwrap(), &settings, Role::Handler);
        let plugin = plugin.unwrap_or_else(|why| panic!("{} {why}", component.display()));
        let route = CallSettings {
            route: RouteName::try_new("payments").unwrap(),
            plugin: name.clone(),
            max_attempts: 3,
            timeout: Duration::from_secs(2),
            grant: Grant {
                emits: ["payments.recorded", "receipts.issued"]
                    .map(|subject| SubjectPattern::try_new(subject).unwrap())
                    .into(),
            },
            limits,
        };
        let space = StateSpace::new(name, EmbeddedBroker::in_memory() as Arc<dyn Admin>);
        let Language { folder, catches, place } = *language;
        let is_collected = !["rust", "c", "cpp", "zig"].contains(&folder);
        let (plugin, route) = (Arc::new(plugin), Arc::new(route));
        Self { plugin, route, space, catches, place, is_collected, sequence: 1.into() }
    }

    async fn expect(&self, what: &str, data: &Value, expected: Expected) {
        let outcome = self.call(data, 1).await;
        match expected {
            Expected::Recorded(balance) => expect_recorded(what, data, outcome, balance),
            Expected::Rejected(reason) => {
                let failure = outcome.expect_err(what);
                assert_eq!((failure.kind, failure.text.as_str()), (FailureKind::Rejected, reason), "{what}");
            }
            Expected::Unreadable => {
                let failure = outcome.expect_err(what);
                assert_eq!(failure.kind, FailureKind::Rejected, "{what}: {}", failure.text);
                assert!(!failure.text.is_empty(), "{what}: a rejection has a reason");
            }
            Expected::RetriedThenRecorded(balance) => {
                let failure = outcome.expect_err(what);
                let asked = FailureKind::RetryRequested { after: Some(Duration::from_millis(10)) };
                assert_eq!((failure.kind, failure.text.as_str()), (asked, "asked to be tried again"), "{what}");
                expect_recorded(what, data, self.call(data, 2).await, balance);
            }
            Expected::Thrown => self.expect_thrown(what, outcome.expect_err(what)),
            Expected::Interrupted(kind) => {
                let failure = outcome.expect_err(what);
                assert_eq!(failure.kind, kind, "{what}: {}", failure.text);
            }
        }
    }

    /// Whatever the language does with it, a person finds the message and where it came from.
    fn expect_thrown(&self, what: &str, failure: Failure) {
        let told = format!("{}\n{}", failure.text, failure.log_tail.join("\n"));
        match failure.kind {
            FailureKind::RetryRequested { after: None } if self.catches => {}
            FailureKind::Trap if !self.catches => {}
            kind => panic!("{what}: {kind:?}: {told}"),
        }
        assert!(failure.text.contains("boom"), "{what}: {told}");
        assert!(told.contains(self.place), "{what}: {told}");
    }

    /// What is logged, and what is kept under which name: the same text and the same bytes in every language.
    async fn says_and_keeps_what_all_do(&self) {
        let space = StateSpace::new(self.route.plugin.clone(), EmbeddedBroker::in_memory() as Arc<dyn Admin>);
        let (plugin, route) = (Arc::clone(&self.plugin), Arc::clone(&self.route));
        let event = event(
            1,
            &json!({
                "payment_id": "p-1", "account": "a-1", "amount": 1200,
                "items": [{ "sku": "MUG", "quantity": 2, "unit_price": 600 }],
            }),
        );
        let played = ENGINE.runtime().spawn(async move {
            let scene = Scene { now: SystemTime::UNIX_EPOCH, seed: 1, requests: Requests::Refused };
            let origin = Origin { stream: StreamName::try_new("PAYMENTS").unwrap(), sequence: 1 };
            let state = Some(space.session());
            let call = Call { event: &event, route: &route, attempt: 1, origin: &origin, state, documents: None };
            Stage::new(plugin).call(&scene, call).await
        });
        let Performance { outcome, log, .. } = played.await.unwrap();
        let text = "recorded a payment payment_id=p-1 balance=1200".to_owned();
        assert_eq!(log, [LogLine { level: Level::Info, from: Voice::Log, text }]);
        let kept = outcome.unwrap().state.unwrap();
        let kept: Vec<_> = kept.writes().iter().map(|(key, value)| (key.as_str(), value.as_deref().unwrap())).collect();
        assert_eq!(kept, [("balance/a-1", &b"1200"[..])]);
    }

    async fn call(&self, data: &Value, attempt: u32) -> Result<Effects, Failure> {
        let sequence = self.sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let origin = Origin { stream: StreamName::try_new("PAYMENTS").unwrap(), sequence };
        let event = event(sequence, data);
        let (plugin, route, session) = (Arc::clone(&self.plugin), Arc::clone(&self.route), self.space.session());
        let committed = origin.clone();
        // Guests run on their own threads, here as in a host.
        let called = ENGINE.runtime().spawn(async move {
            let call =
                Call { event: &event, route: &route, attempt, origin: &origin, state: Some(session), documents: None };
            plugin.handle(call).await
        });
        let mut effects = called.await.unwrap()?;
        if let Some(writes) = effects.state.take() {
            let receipt = Receipt::new("languages");
            let commit = Commit { route: self.route.route.clone(), origin: committed, receipt, emits: Arc::default() };
            drop(self.space.submit(commit, writes));
        }
        Ok(effects)
    }

    /// Ten thousand calls on one instance leave its memory as it was after the first two thousand: to the page where nothing is
    /// collected, to a megabyte where the collector decides.
    async fn is_flat_over_ten_thousand_calls(&self) {
        let data = json!({
            "payment_id": "p-1", "account": "many", "amount": 1200, "items": [{ "sku": "MUG", "quantity": 2, "unit_price": 600 }],
        });
        let mut warm = 0;
        for call in 1..=10_000_i64 {
            let outcome = self.call(&data, 1).await;
            expect_recorded("one of ten thousand", &data, outcome, call * 1200);
            if call == 2000 {
                warm = self.plugin.memory();
            }
        }
        let end = self.plugin.memory();
        let allowed = if self.is_collected { MIB } else { 64 * 1024 };
        assert!(end <= warm + allowed, "memory has grown from {warm} to {end} bytes");
        assert!(end >= warm, "memory has shrunk from {warm} to {end} bytes: it is another instance's");
    }
}

fn expect_recorded(what: &str, data: &Value, outcome: Result<Effects, Failure>, balance: i64) {
    let effects = outcome.unwrap_or_else(|failure| {
        panic!("{what}: {:?}: {}\n{}", failure.kind, failure.text, failure.log_tail.join("\n"))
    });
    let emits: Vec<Value> = effects
        .emits
        .iter()
        .map(|emit| {
            json!({
                "to": emit.to.as_str(), "kind": emit.kind, "subject": emit.subject, "extensions": emit.extensions,
                "datacontenttype": emit.datacontenttype.as_deref().unwrap_or("application/json"),
                "data": serde_json::from_slice::<Value>(&emit.data).unwrap(),
            })
        })
        .collect();
    let lines = data["items"].as_array().unwrap().len();
    let expected = json!([
        {
            "to": "payments.recorded", "kind": "PaymentRecorded", "subject": data["account"], "extensions": [],
            "datacontenttype": "application/json",
            "data": { "payment_id": data["payment_id"], "account": data["account"], "balance": balance },
        },
        {
            "to": "receipts.issued", "kind": "ReceiptIssued", "subject": null, "extensions": [["lines", lines.to_string()]],
            "datacontenttype": "application/json",
            "data": { "payment_id": data["payment_id"], "lines": lines, "amount": data["amount"] },
        },
    ]);
    assert_eq!(Value::from(emits), expected, "{what}");
}
