//! The committed components are what the sources say: rebuilt from `examples/`, they have the same imports and exports and give
//! the same answers on the same events.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tidemill_core::config::PluginConfig;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_engine::{Engine, EngineOptions};

use crate::harness::{Home, On, root};

#[test]
fn rebuilt_from_their_sources_the_components_do_the_same() {
    let rebuilt = tempfile::tempdir().unwrap();
    let built = Command::new(root().join("tools/build-plugins"))
        .arg("--out")
        .arg(rebuilt.path())
        .env("CARGO_TARGET_DIR", root().join("target/plugins"))
        .status()
        .unwrap();
    assert!(built.success(), "tools/build-plugins");

    let committed = root().join("plugins");
    assert_eq!(shapes(&committed), shapes(rebuilt.path()), "imports and exports");
    assert_eq!(answers(&committed), answers(rebuilt.path()), "what comes out of the shop");
}

/// Imports and exports by plugin.
fn shapes(folder: &Path) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let granted = PluginConfig { state: true, ..PluginConfig::default() };
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let bytes = fs::read(&path).unwrap();
            let role = if name.ends_with("-view") { Role::Projection } else { Role::Handler };
            let plugin = engine.load(&PluginName::try_new(&name).unwrap(), &bytes, &granted, role).unwrap();
            let described = plugin.describe();
            (name, (described.imports.clone(), described.exports.clone()))
        })
        .collect()
}

/// What the shop's plugins emit. Checks and payments by their deterministic ids, byte for byte; of accounts and mails only how many
/// of each type, because which of two customers with one address comes first is anybody's guess.
fn answers(plugins: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let here = root().display().to_string();
    let config = fs::read_to_string(root().join("runtime.yaml")).unwrap();
    let config = config
        .replace("./examples/shop/schemas", &format!("{here}/examples/shop/schemas"))
        .replace("dir: ./plugins", &format!("dir: {}", plugins.display()));
    let home = Home::new(On::Embedded, &config);
    let feed = root().join("examples/shop/events.jsonl").display().to_string();
    home.json(&["run", "--feed", &feed, "--until-idle"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = home.broker().await;
        let mut answers = BTreeMap::new();
        for stream in ["CHECKS", "PAYMENTS"] {
            for event in home.events(&broker, stream).await {
                answers.insert(event.id, (event.kind, event.data.to_vec()));
            }
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for stream in ["ACCOUNTS", "MAILS"] {
            for event in home.events(&broker, stream).await {
                *counts.entry(event.kind).or_default() += 1;
            }
        }
        assert_eq!(counts.len(), 3, "accounts are created and rejected, mails are sent");
        answers.extend(counts.into_iter().map(|(kind, count)| (kind, (count.to_string(), Vec::new()))));
        broker.close().await.unwrap();
        assert!(answers.len() > 250, "the shop emits");
        answers
    })
}
