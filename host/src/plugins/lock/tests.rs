//! The lock as its users meet it (case D9).

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::*;

fn folder(plugins: &[(&str, &str)]) -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in plugins {
        fs::write(dir.path().join(format!("{name}.wasm")), content).unwrap();
    }
    let folder = Folder::new(dir.path());
    (dir, folder)
}

fn name(text: &str) -> PluginName {
    PluginName::try_new(text).unwrap()
}

fn parsed(text: &str) -> Result<Lock, LockProblem> {
    Lock::parse(Path::new("plugins.lock"), text)
}

#[test]
fn without_a_lock_file_there_is_no_lock() {
    assert!(Lock::read(&folder(&[("shop", "one")]).1).unwrap().is_none());
}

#[test]
fn a_written_lock_lets_exactly_the_locked_builds_run() {
    let (_dir, folder) = folder(&[("shop", "one"), ("tax", "two"), ("cart", "three")]);
    let written = write(&folder, &[name("tax"), name("shop")]).unwrap();
    let lock = Lock::read(&folder).unwrap().unwrap();
    assert_eq!(lock, written);
    assert_eq!(lock.names().map(PluginName::as_str).collect::<Vec<_>>(), ["shop", "tax"]);

    lock.check(&folder.read(&name("shop")).unwrap()).unwrap();
    lock.check(&folder.read(&name("tax")).unwrap()).unwrap();

    let cart = lock.check(&folder.read(&name("cart")).unwrap()).unwrap_err().to_string();
    assert!(cart.starts_with("plugin `cart` is not in `"), "{cart}");
    assert!(cart.contains("`tidemill plugins lock` adds it"), "{cart}");
}

#[test]
fn another_build_is_refused_with_both_digests_and_the_command() {
    let (_dir, folder) = folder(&[("shop", "one")]);
    let lock = write(&folder, &[name("shop")]).unwrap();
    fs::write(folder.path(&name("shop")), "two").unwrap();

    let text = lock.check(&folder.read(&name("shop")).unwrap()).unwrap_err().to_string();

    for part in [Digest::of(b"one").as_str(), Digest::of(b"two").as_str(), "`tidemill plugins lock` updates it"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_format_is_that_of_sha256sum() {
    let (dir, folder) = folder(&[("shop", "one"), ("tax", "two")]);
    write(&folder, &folder.names()).unwrap();
    let check = Command::new("sha256sum").args(["--check", "--strict", FILE]).current_dir(dir.path()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    let made = Command::new("sha256sum").args(["./tax.wasm", "shop.wasm"]).current_dir(dir.path()).output().unwrap();
    fs::write(dir.path().join(FILE), made.stdout).unwrap();
    let lock = Lock::read(&folder).unwrap().unwrap();
    assert_eq!(lock.digest(&name("tax")), Some(&Digest::of(b"two")));
    assert_eq!(lock.digest(&name("shop")), Some(&Digest::of(b"one")));
}

#[test]
fn mistakes_are_told_with_their_line_and_what_was_expected() {
    let hex = "ab".repeat(32);
    let cases = [
        (format!("# fine\n\n{hex}"), "line 3: ", "64 hexadecimal digits, two blanks and"),
        (format!("{hex} shop.wasm"), "line 1: ", "64 hexadecimal digits, two blanks and"),
        ("abc  shop.wasm".to_owned(), "line 1: ", "64 hexadecimal digits at the beginning"),
        (format!("{hex}  ../shop.wasm"), "line 1: ", "a plugin's file `<plugin>.wasm` of this folder"),
        (format!("{hex}  shop.dll"), "line 1: ", "a plugin's file `<plugin>.wasm` of this folder"),
        (format!("{hex}  shop.wasm\n{hex} *shop.wasm\n"), "line 2: ", "each plugin once"),
    ];
    for (text, line, expected) in cases {
        let said = parsed(&text).unwrap_err().to_string();
        assert!(said.contains(line) && said.contains(expected), "{text:?}: {said}");
    }
}

#[test]
fn comments_windows_line_ends_and_large_digits_are_read() {
    let text = format!("# builds of May\r\n\r\n{}  shop.wasm\r\n", "AB".repeat(32));
    let digest = parsed(&text).unwrap().digest(&name("shop")).unwrap().clone();
    assert_eq!(digest.hex(), "ab".repeat(32));
}

#[test]
fn an_empty_lock_lets_nothing_run() {
    let (_dir, folder) = folder(&[("shop", "one")]);
    fs::write(folder.dir().join(FILE), "").unwrap();
    let lock = Lock::read(&folder).unwrap().unwrap();
    assert!(matches!(lock.check(&folder.read(&name("shop")).unwrap()), Err(LockProblem::NotListed { .. })));
}

#[test]
fn a_lock_that_cannot_be_read_is_not_an_absent_one() {
    let (_dir, folder) = folder(&[]);
    let path = folder.dir().join(FILE);
    fs::create_dir(&path).unwrap();
    assert!(Lock::read(&folder).unwrap_err().to_string().contains("cannot be read: it is a directory"));
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("gone", &path).unwrap();
    assert!(matches!(Lock::read(&folder), Err(LockProblem::Unreadable { .. })));
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"\xff").unwrap();
    assert!(Lock::read(&folder).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn a_plugin_that_is_missing_leaves_the_old_lock_as_it_was() {
    let (_dir, folder) = folder(&[("shop", "one")]);
    let before = write(&folder, &[name("shop")]).unwrap();
    let problem = write(&folder, &[name("shop"), name("tax")]).unwrap_err().to_string();
    assert!(problem.contains("/tax.wasm`; the folder holds `shop`"), "{problem}");
    assert_eq!(Lock::read(&folder).unwrap().unwrap(), before);
}
