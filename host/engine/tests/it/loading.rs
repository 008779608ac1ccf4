//! What is not a handler is refused with a sentence that says what it is and what would be right.

use std::time::Duration;

use tidemill_core::config::PluginConfig;
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;
use tidemill_core::name::PluginName;
use tidemill_core::port::{Handler as _, Role};
use tidemill_engine::{Engine, EngineOptions};
use wit_parser::Resolve;

use crate::guest::{EMIT, STATE, answering, contract, dummy};
use crate::rig::{call_on, load, refusal, route, try_load};

#[tokio::test]
async fn a_handler_is_described() {
    let component = answering(&[EMIT], "(call $ok)");
    let plugin = load(&component);
    let description = plugin.describe();
    assert_eq!(plugin.digest(), description.digest);
    assert!(description.digest.starts_with("sha256:") && description.digest.len() == 71);
    assert_eq!(description.size, component.len());
    assert!(description.imports.contains(&"tidemill:plugin/emit@0.2.0".to_owned()), "{description:?}");
    assert_eq!(description.exports, ["tidemill:plugin/event-handler@0.2.0"]);
    assert!(!plugin.uses_state());
    assert!(load(&answering(&[STATE], "(call $ok)")).uses_state());
}

#[tokio::test]
async fn what_is_not_a_component_is_refused() {
    let component = answering(&[], "(call $ok)");
    for (bytes, beginning) in [
        (component[..component.len() / 2].to_vec(), "is damaged, incomplete, or needs a WebAssembly feature"),
        (
            wat::parse_str("(module)").unwrap(),
            "is a core Wasm module, not a component; build it with `--target wasm32-wasip2`",
        ),
        (b"(component)".to_vec(), "is WebAssembly text; expected a binary component"),
        (b"\x7fELF and so on".to_vec(), "is not WebAssembly"),
    ] {
        let told = refusal(&bytes);
        assert!(told.starts_with(beginning), "{told}");
    }
}

#[tokio::test]
async fn machine_code_is_refused_also_if_it_is_wasmtimes_own() {
    let engine = wasmtime::Engine::default();
    let compiled = engine.precompile_component(&answering(&[], "(call $ok)")).unwrap();
    assert!(refusal(&compiled).starts_with("is machine code that was compiled ahead of time"));
}

#[tokio::test]
async fn a_component_of_another_world_is_refused() {
    let mut empty = Resolve::default();
    empty.push_str("empty.wit", "package acme:tool; world tool { export run: func(); }").unwrap();
    assert_eq!(
        refusal(&dummy(&empty, "tool")),
        "does not export `tidemill:plugin/event-handler@0.2.0`, so it is not a handler; it exports `run`"
    );
    assert_eq!(
        refusal(&dummy(&contract("0.3.0"), "handler")),
        "exports `tidemill:plugin/event-handler` in version 0.3.0, this host calls versions 0.2.0 and 0.1.0; build it with an SDK of \
         one of them"
    );
}

#[tokio::test]
async fn all_imports_that_are_not_offered_are_listed() {
    let mut resolve = contract("0.2.0");
    resolve.push_str("http.wit", "package wasi:http@0.2.10; interface outgoing-handler { handle: func(); } interface incoming-handler { handle: func(); }").unwrap();
    resolve
        .push_str(
            "acme.wit",
            "package acme:mail@1.0.0;
             interface send { send: func(); }
             world needy {
                 import send;
                 import tidemill:plugin/state@0.2.0;
                 import wasi:http/outgoing-handler@0.2.10;
                 import wasi:http/incoming-handler@0.2.10;
                 export tidemill:plugin/event-handler@0.2.0;
             }",
        )
        .unwrap();
    let told = try_load(&dummy(&resolve, "needy"), &PluginConfig::default()).err().unwrap().to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "imports what this host does not offer:");
    assert!(told.contains("\n  - `acme:mail/send@1.0.0`: this host offers"), "{told}");
    assert!(told.contains("\n  - `wasi:http/incoming-handler@0.2.10`: of `wasi:http` this host offers"), "{told}");
    // What would only need a grant is told with it, so that nobody has to come back twice.
    assert!(told.contains("\n  - `tidemill:plugin/state@0.2.0`: `plugins.settings.guest.state: true` in"), "{told}");
    assert!(told.contains("\n  - `wasi:http/outgoing-handler@0.2.10`: `plugins.settings.guest.allowed_"), "{told}");
    assert_eq!(lines.len(), 5, "{told}");
}

#[tokio::test]
async fn an_import_with_other_types_is_refused() {
    let mut resolve = Resolve::default();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/types.wit")).unwrap()
        + "interface host { now: func() -> u32; }
           interface event-handler {
               use types.{event, context, failure};
               handle: func(event: event, context: context) -> result<_, failure>;
           }
           world handler { import host; export event-handler; }";
    resolve.push_str("other.wit", &text).unwrap();
    let told = refusal(&dummy(&resolve, "handler"));
    assert!(told.starts_with("has the right names but not the right types"), "{told}");
    assert!(told.contains("tidemill:plugin/host@0.2.0"), "{told}");
}

#[tokio::test]
async fn an_engine_without_a_pool_works_too_and_its_plugins_may_outlive_it() {
    let options = EngineOptions { pooling: false, cores: 1, ..EngineOptions::default() };
    let engine = Engine::new(options).unwrap();
    let spinning = "(loop $again (br $again)) (call $ok)";
    let plugin = engine
        .load(
            &PluginName::try_new("guest").unwrap(),
            &answering(&[], spinning),
            &PluginConfig::default(),
            Role::Handler,
        )
        .unwrap();
    drop(engine);
    let route = route(Duration::from_millis(50), Limits::default());
    assert_eq!(call_on(&plugin, &route, "{}", None).await.unwrap_err().kind, FailureKind::Timeout);
}
