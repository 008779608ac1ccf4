//! Hostile files, and a cache that others have touched: what is not a plugin is refused with a reason, what is in the cache
//! and does not prove itself is compiled anew.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemill_core::config::PluginConfig;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_engine::{Engine, EngineOptions, LoadError, Plugin};

use crate::guest::{answering, handler, handler_with_lines};
use crate::rig::{call, failure_text, refusal, try_load};

fn good() -> Vec<u8> {
    answering(&[], "(call $ok)")
}

/// The same bytes in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.0 >> 56) as u8
            })
            .collect()
    }
}

#[tokio::test]
async fn a_component_that_is_cut_off_anywhere_is_refused() {
    let component = good();
    assert_eq!(refusal(&[]), "is empty; expected a Wasm component");
    let everywhere = (1..component.len().min(1024)).chain((1024..component.len()).step_by(37));
    for length in everywhere {
        let (kept, lost) = component.split_at(length);
        match try_load(kept, &PluginConfig::default()) {
            Ok(_) => {
                assert_eq!(lost[0], 0, "cut after {length}: only custom sections, which say nothing, may be missing")
            }
            Err(why) => {
                let told = why.to_string();
                let known = told.starts_with("is damaged, incomplete, or needs a WebAssembly feature that is switched off")
                    // Cut between two sections it is a whole component, of another world.
                    || told.starts_with("does not export `tidemill:plugin/event-handler@0.2.0`");
                assert!(known, "cut after {length} of {}: {told}", component.len());
            }
        }
    }
}

#[tokio::test]
async fn noise_is_refused_with_and_without_a_components_beginning() {
    let mut noise = Noise(20_261_121);
    for length in [1, 7, 8, 9, 64, 1000, 100_000] {
        for _ in 0..20 {
            let bytes = noise.bytes(length);
            assert_eq!(
                refusal(&bytes),
                "is not WebAssembly: it does not begin with `\\0asm`; expected a Wasm component"
            );
            let disguised = [&good()[..8], &bytes].concat();
            assert!(refusal(&disguised).starts_with("is damaged, incomplete"), "{length} bytes");
        }
    }
}

#[tokio::test]
async fn a_component_with_bytes_changed_is_refused_or_still_harmless() {
    let component = good();
    let mut noise = Noise(1);
    let mut refused = 0;
    for _ in 0..150 {
        let mut changed = component.clone();
        let spot = noise.bytes(4);
        let at = u32::from_le_bytes([spot[0], spot[1], spot[2], 0]) as usize % changed.len();
        changed[at] ^= spot[3] | 1;
        match try_load(&changed, &PluginConfig::default()) {
            Err(LoadError::Host(why)) => panic!("byte {at} made the host fail: {why}"),
            Err(_) => refused += 1,
            // A name, a constant: another good component.
            Ok(_) => {}
        }
    }
    assert!(refused > 30, "{refused} of 150 were refused");
}

#[tokio::test]
async fn files_of_other_kinds_are_refused_by_their_kind() {
    let engine = wasmtime::Engine::default();
    let machine_code = engine.precompile_component(&good()).unwrap();
    let itself = fs::read("/proc/self/exe").unwrap();
    for (bytes, beginning) in [
        (wat::parse_str("(module)").unwrap(), "is a core Wasm module, not a component"),
        (b"(component)".to_vec(), "is WebAssembly text; expected a binary component"),
        (b"\n;; a comment\n(module)".to_vec(), "is WebAssembly text; expected a binary component"),
        (b"\0asm\x0e\0\x01\0".to_vec(), "is WebAssembly of an unknown binary version"),
        (itself[..4096].to_vec(), "is not WebAssembly"),
        (machine_code.clone(), "is machine code that was compiled ahead of time"),
        (machine_code[..machine_code.len() / 2].to_vec(), "is "),
    ] {
        let told = refusal(&bytes);
        assert!(told.starts_with(beginning), "{told}");
    }
}

/// A custom section of a component.
fn section(name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = leb(name.len());
    body.extend(name.as_bytes());
    body.extend(content);
    [vec![0], leb(body.len()), body].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[tokio::test]
async fn custom_sections_of_any_size_do_not_become_code() {
    let dir = tempfile::tempdir().unwrap();
    let engine = cached_engine(dir.path());
    let heavy = [good(), section("ballast", &vec![7; 60 << 20]), section("name", &[0xff; 1 << 20])].concat();
    let plugin = load_on(&engine, &heavy).unwrap();
    assert!(call(&plugin, "{}").await.is_ok());
    let kept = fs::metadata(entry(dir.path())).unwrap().len();
    assert!(kept < 1 << 20, "the code has {kept} bytes");
}

#[tokio::test]
async fn nothing_beside_the_plugin_is_ever_opened() {
    // The engine gets bytes and knows no path. wasmtime would look for debug information in `<path>.dwp` if it knew one;
    // a pipe of that name would hold it up for ever.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.wasm");
    fs::write(&path, good()).unwrap();
    for beside in ["guest.dwp", "guest.wasm.dwp"] {
        let made = std::process::Command::new("mkfifo").arg(dir.path().join(beside)).status().unwrap();
        assert!(made.success());
    }
    let engine = cached_engine(&dir.path().join("cache"));
    let bytes = fs::read(&path).unwrap();
    let loading = tokio::task::spawn_blocking(move || load_on(&engine, &bytes).map(drop));
    tokio::time::timeout(Duration::from_secs(30), loading).await.expect("loading waits for a pipe").unwrap().unwrap();
}

fn cached_engine(dir: &Path) -> Engine {
    Engine::new(EngineOptions { cache_dir: Some(dir.to_owned()), ..EngineOptions::default() }).unwrap()
}

fn load_on(engine: &Engine, component: &[u8]) -> Result<Plugin, LoadError> {
    engine.load(&PluginName::try_new("guest").unwrap(), component, &PluginConfig::default(), Role::Handler)
}

/// Whether a new host takes the component from the cache. In any case it must run.
async fn is_cached(dir: &Path, component: &[u8]) -> bool {
    let plugin = load_on(&cached_engine(dir), component).unwrap();
    assert!(call(&plugin, "{}").await.is_ok());
    plugin.describe().cached
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir.join("compiled")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "code")).collect()
}

fn entry(dir: &Path) -> PathBuf {
    let all = entries(dir);
    assert_eq!(all.len(), 1);
    all[0].clone()
}

/// A cache that holds [`good`], and what happens to it; then it must be a miss, and after that a hit again.
async fn compiled_anew_after(harm: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_cached(dir.path(), &good()).await, "the cache is empty at first");
    assert!(is_cached(dir.path(), &good()).await, "the second start has it");
    harm(dir.path());
    assert!(!is_cached(dir.path(), &good()).await, "what was harmed is not used");
    assert!(is_cached(dir.path(), &good()).await, "it was replaced by a good one");
}

fn change_byte(path: &Path, at: impl FnOnce(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_tampered_entry_is_compiled_anew() {
    compiled_anew_after(|dir| change_byte(&entry(dir), |length| length / 2)).await;
    compiled_anew_after(|dir| change_byte(&entry(dir), |length| length - 1)).await;
    // In the seal itself.
    compiled_anew_after(|dir| change_byte(&entry(dir), |_| 110)).await;
}

#[tokio::test]
async fn a_half_written_entry_is_compiled_anew() {
    for keep in [0, 1, 100, 136, 5000] {
        compiled_anew_after(|dir| {
            let path = entry(dir);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..keep]).unwrap();
        })
        .await;
    }
    // What a host that was killed left under the name of an unfinished file is no entry.
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_cached(dir.path(), &good()).await);
    fs::rename(entry(dir.path()), dir.path().join("compiled/0123456789abcdef.tmp")).unwrap();
    assert!(!is_cached(dir.path(), &good()).await);
}

#[tokio::test]
async fn bare_machine_code_in_the_cache_is_compiled_anew() {
    compiled_anew_after(|dir| {
        let path = entry(dir);
        let bytes = fs::read(&path).unwrap();
        assert!(wasmtime::Engine::detect_precompiled(&bytes[136..]).is_some(), "the code stands after the header");
        fs::write(&path, &bytes[136..]).unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_is_a_link_is_compiled_anew_and_what_it_points_to_stays() {
    compiled_anew_after(|dir| {
        let (path, elsewhere) = (entry(dir), dir.join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_others_may_write_or_read_is_compiled_anew() {
    for mode in [0o620, 0o602, 0o604] {
        compiled_anew_after(|dir| fs::set_permissions(entry(dir), fs::Permissions::from_mode(mode)).unwrap()).await;
    }
}

#[tokio::test]
async fn an_entry_that_is_a_pipe_does_not_hold_up_the_host() {
    compiled_anew_after(|dir| {
        let path = entry(dir);
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn the_entry_of_another_component_under_this_name_is_compiled_anew() {
    let other = answering(&[], r#"(call $reject (i32.const 0) (i32.const 0))"#);
    compiled_anew_after(|dir| {
        let mine = entry(dir);
        load_on(&cached_engine(dir), &other).unwrap();
        let others = entries(dir).into_iter().find(|path| *path != mine).unwrap();
        fs::rename(others, mine).unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_entry_of_another_wasmtime_is_compiled_anew() {
    compiled_anew_after(|dir| {
        let path = entry(dir);
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(&bytes[16..22], b"48.0.8");
        bytes[16..22].copy_from_slice(b"48.0.7");
        fs::write(&path, bytes).unwrap();
    })
    .await;
}

#[tokio::test]
async fn with_another_key_everything_is_compiled_anew() {
    compiled_anew_after(|dir| fs::write(dir.join("compiled/key"), [1; 64]).unwrap()).await;
    compiled_anew_after(|dir| fs::write(dir.join("compiled/key"), b"short").unwrap()).await;
    compiled_anew_after(|dir| fs::remove_file(dir.join("compiled/key")).unwrap()).await;
    // A key that others could have read is no key.
    compiled_anew_after(|dir| {
        fs::set_permissions(dir.join("compiled/key"), fs::Permissions::from_mode(0o640)).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_is_not_the_hosts_alone_is_not_used() {
    for (folder, mode) in [("compiled", 0o770), ("compiled", 0o707), (".", 0o775)] {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_cached(dir.path(), &good()).await);
        let folder = dir.path().join(folder);
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        assert!(!is_cached(dir.path(), &good()).await, "{mode:o}");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(is_cached(dir.path(), &good()).await, "what was in it was left alone");
    }
}

#[tokio::test]
async fn a_folder_that_is_a_link_a_file_or_full_is_done_without() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), dir.path().join("compiled")).unwrap();
    assert!(!is_cached(dir.path(), &good()).await);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is written through a link");

    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(!is_cached(file.path(), &good()).await);
    // Nothing can be written below it, whoever one is.
    assert!(!is_cached(Path::new("/proc/self/tidemill"), &good()).await);
}

#[tokio::test]
async fn what_the_cache_writes_is_for_the_hosts_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("new/cache");
    is_cached(&below, &good()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&below), 0o700);
    assert_eq!(mode(&below.join("compiled")), 0o700);
    assert_eq!(mode(&below.join("compiled/key")), 0o600);
    assert_eq!(mode(&entry(&below)), 0o600);
}

#[tokio::test]
async fn a_trap_names_file_and_line_also_when_the_code_comes_from_the_cache() {
    let component = handler_with_lines("(func $handle (param $in i32) (result i32)\n  unreachable)");
    let dir = tempfile::tempdir().unwrap();
    for cached in [false, true] {
        let plugin = load_on(&cached_engine(dir.path()), &component).unwrap();
        assert_eq!(plugin.describe().cached, cached);
        let text = failure_text(&plugin).await;
        assert!(text.contains("\n  at ") && text.contains("guest.wat:"), "{text}");
    }
}

#[tokio::test]
async fn a_cached_plugin_is_described_as_the_compiled_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let component = handler(&[], "(func $handle (param $in i32) (result i32) (call $ok))");
    let first = load_on(&cached_engine(dir.path()), &component).unwrap();
    let second = load_on(&cached_engine(dir.path()), &component).unwrap();
    let (first, second) = (first.describe(), second.describe());
    assert!(!first.cached && second.cached);
    assert_eq!((&first.digest, &first.imports, &first.exports), (&second.digest, &second.imports, &second.exports));
}
