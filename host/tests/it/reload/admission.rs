//! A bad file never wins: it is refused with a sentence, and what runs goes on (the kinds of D1, D4, D5; D9).

use std::fs::{self, File};
use std::path::Path;

use tidemill::plugins::MAX_PLUGIN_BYTES;
use tidemill::status::PluginState;

use super::guests::{good, variant};
use super::{Feed, SHORT, digest, each_once, emit, home, put, serves};
use crate::guest::{self, STATE};

#[test]
fn each_kind_of_bad_file_is_refused_with_its_sentence_and_the_old_build_goes_on() {
    let build = good("one");
    let stateful = guest::answering(&[STATE], "(call $ok)");
    let spinning = "(func $spin (loop $again (br $again))) (start $spin)
        (func $handle (param i32) (result i32) (call $ok))";
    let older = guest::dummy(&guest::contract("0.9.0"), "handler");
    let kinds: [(&str, Vec<u8>, &str); 8] = [
        ("empty", Vec::new(), "is empty"),
        ("text", b"this is no component".to_vec(), "is not WebAssembly"),
        ("WebAssembly text", b"(component)".to_vec(), "is WebAssembly text"),
        ("truncated", build[..build.len() / 2].to_vec(), "is damaged, incomplete"),
        ("a core module", b"\0asm\x01\0\0\0".to_vec(), "is a core Wasm module"),
        ("another world", guest::dummy(&guest::contract("0.2.0"), "projection"), "is a projection"),
        ("another version", older, "in version 0.9.0"),
        ("an import that is not granted", stateful, "state: true"),
    ];
    let home = home("  settings: { forward: { limits: { start: 300ms } } }\n", &build);
    let host = home.start();
    let feed = Feed::start(&home, 100, |_| "in.a");
    let refused = |kind: &str, bytes: Option<&[u8]>, sentence: &str| {
        let plugin = host.until_plugin(&format!("{kind}: refused for `{sentence}`"), |plugin| {
            plugin.refused.as_ref().is_some_and(|refused| {
                refused.why.contains(sentence) && bytes.is_none_or(|bytes| refused.digest == Some(digest(bytes)))
            })
        });
        assert_eq!((plugin.digest, plugin.generation, plugin.state), (digest(&build), 1, PluginState::Live), "{kind}");
    };
    for (kind, bytes, sentence) in &kinds {
        put(&home, bytes);
        refused(kind, Some(bytes), sentence);
    }
    let precompiled = machine_code(&home.path(".tidemill/plugins")).expect("the host keeps what it compiled");
    put(&home, &precompiled);
    refused("precompiled", Some(&precompiled), "compiled ahead of time");
    let spinning = guest::handler(&[], spinning);
    put(&home, &spinning);
    refused("spins at its start", Some(&spinning), "could not be started (timeout)");
    File::create(home.path("plugins/.incoming")).unwrap().set_len(MAX_PLUGIN_BYTES + 1).unwrap();
    fs::rename(home.path("plugins/.incoming"), home.path("plugins/forward.wasm")).unwrap();
    refused("too large", None, "is larger than");

    // Whoever asks is told, as long as such a file lies there, and a script can see it.
    let asked = home.run(&["reload"]);
    assert_eq!(asked.code, 1, "{}{}", asked.out, asked.err);
    assert!(asked.out.contains("refused: forward: ") && asked.out.contains("is larger than"), "{}", asked.out);

    put(&home, &good("two"));
    host.until_plugin("a good one", serves(&good("two")));
    assert_eq!(home.run(&["reload"]).code, 0);
    assert!(host.plugin().refused.is_none());
    let events = feed.stop();
    host.until_done("forward", events);
    host.stop();
    each_once(&home, events);
}

/// What the engine made of a component, as the host's own cache has it behind a header.
fn machine_code(dir: &Path) -> Option<Vec<u8>> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() {
            return machine_code(&path);
        }
        let bytes = fs::read(path).unwrap();
        let begin = bytes.windows(4).position(|window| window == b"\x7fELF")?;
        Some(bytes[begin..].to_vec())
    })
}

/// Case D9.
#[test]
fn a_build_that_is_not_locked_is_refused_until_it_is() {
    let (build, other) = (good("one"), good("two"));
    let home = home("", &build);
    assert_eq!(home.run(&["plugins", "lock"]).code, 0);
    let host = home.start();
    put(&home, &other);
    let plugin = host.until_plugin("refused", |plugin| plugin.refused.is_some());
    let why = plugin.refused.unwrap().why;
    assert!(why.contains(&digest(&build)) && why.contains(&digest(&other)), "both digests: {why}");
    assert_eq!(plugin.digest, digest(&build));
    assert_eq!(home.run(&["plugins", "lock"]).code, 0);
    host.until_plugin("locked", serves(&other));
    host.stop();
}

/// Case D9.
#[test]
fn a_build_without_the_signature_of_a_trusted_key_is_refused() {
    let mine = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let (build, other) = (good("one"), good("two"));
    let sign = |bytes: &[u8]| minisign::sign(Some(&mine.pk), &mine.sk, bytes, None, None).unwrap().into_string();
    let home = home(&format!("  trusted_keys: [\"{}\"]\n", mine.pk.to_base64()), &build);
    home.write("plugins/forward.wasm.minisig", &sign(&build));
    let host = home.start();
    put(&home, &other);
    let plugin = host.until_plugin("refused", |plugin| plugin.refused.is_some());
    let why = plugin.refused.unwrap().why;
    assert!(why.contains("minisig"), "{why}");
    assert_eq!(plugin.digest, digest(&build));
    home.write("plugins/forward.wasm.minisig", &sign(&other));
    host.until_plugin("signed", serves(&other));
    host.stop();
}

#[test]
fn a_person_rolls_back_a_build_on_probation() {
    let (build, other) = (good("one"), good("two"));
    let home = home("", &build);
    let host = home.start();
    put(&home, &other);
    let plugin = host.until_plugin("on probation", serves(&other));
    assert_eq!((plugin.state, plugin.previous), (PluginState::Probation, Some(digest(&build))));
    let told = home.run(&["plugins", "rollback", "forward"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains(&digest(&build)), "{}", told.out);
    host.until_plugin("rolled back", |plugin| serves(&build)(plugin) && plugin.refused.is_some());
    emit(&home, 0..10);
    host.until_done("forward", 10);
    host.stop();
    let host = home.start();
    assert_eq!(host.plugin().digest, digest(&build), "the restart keeps to it");
    host.stop();
    assert_eq!(each_once(&home, 10).into_keys().collect::<Vec<_>>(), ["one-1"]);
}

#[test]
fn a_person_rolls_back_a_build_that_is_trusted() {
    let (build, other) = (good("one"), variant(&good("two"), 1));
    let home = home(SHORT, &build);
    let host = home.start();
    put(&home, &other);
    host.until_plugin("on probation", serves(&other));
    emit(&home, 0..40);
    host.until_plugin("trusted", |plugin| serves(&other)(plugin) && plugin.state == PluginState::Live);
    host.until_done("forward", 40);
    // The end of the probation is written down a moment after it.
    host.until("remembered", |_| {
        let record = fs::read_to_string(home.path(".tidemill/plugins/generations.json")).unwrap_or_default();
        record.contains(&digest(&other))
    });
    let told = home.run(&["plugins", "rollback", "forward"]);
    assert_eq!(told.code, 0, "{}", told.err);
    let plugin = host.plugin();
    assert_eq!((plugin.digest, plugin.state), (digest(&build), PluginState::Live));
    assert!(plugin.refused.unwrap().why.contains("by hand"));
    emit(&home, 40..50);
    host.until_done("forward", 50);
    host.stop();
    let host = home.start();
    assert_eq!(host.plugin().digest, digest(&build), "the restart keeps to it");
    host.stop();
    let by_build = each_once(&home, 50);
    assert_eq!((by_build.get("one-1"), by_build.get("two-1")), (Some(&10), Some(&40)), "{by_build:?}");
}
