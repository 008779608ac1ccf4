//! What may lie in a folder (case D8), and what must never be opened (D7).

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    (dir, Folder::new(plugins))
}

fn name(text: &str) -> PluginName {
    PluginName::try_new(text).unwrap()
}

fn refusal(folder: &Folder, plugin: &str) -> String {
    folder.read(&name(plugin)).unwrap_err().to_string()
}

#[test]
fn a_plugin_is_its_bytes_their_digest_and_its_place() {
    let (_dir, folder) = folder();
    fs::write(folder.dir().join("shop.wasm"), "build one").unwrap();

    let file = folder.read(&name("shop")).unwrap();

    assert_eq!(file.bytes, b"build one");
    assert_eq!(file.digest, Digest::of(b"build one"));
    assert_eq!(file.path, folder.dir().join("shop.wasm"));
}

#[test]
fn a_missing_plugin_is_refused_with_those_that_are_there() {
    let (_dir, folder) = folder();
    assert!(refusal(&folder, "shop").ends_with("/shop.wasm`; the folder holds no plugin"));

    fs::write(folder.dir().join("b.wasm"), "").unwrap();
    fs::write(folder.dir().join("a.wasm"), "").unwrap();
    fs::write(folder.dir().join("notes.txt"), "").unwrap();
    assert!(refusal(&folder, "shop").ends_with("/shop.wasm`; the folder holds `a`, `b`"));
}

#[test]
fn a_folder_that_does_not_exist_holds_nothing() {
    let folder = Folder::new("/nonexistent/plugins");
    assert_eq!(refusal(&folder, "shop"), "there is no `/nonexistent/plugins/shop.wasm`; the folder holds no plugin");
    assert_eq!((folder.names(), folder.others()), (vec![], vec![]));
}

#[test]
fn a_link_out_of_the_folder_is_refused_and_names_its_target() {
    let (dir, folder) = folder();
    let secret = dir.path().join("secret");
    fs::write(&secret, "root:x:0:0").unwrap();
    symlink(&secret, folder.dir().join("direct.wasm")).unwrap();
    symlink("../secret", folder.dir().join("relative.wasm")).unwrap();
    symlink("..", folder.dir().join("up")).unwrap();
    symlink("up/secret", folder.dir().join("stepped.wasm")).unwrap();
    // Kubernetes' own link leads out only if somebody wants it to.
    symlink("..", folder.dir().join("..data")).unwrap();
    symlink("..data/secret", folder.dir().join("mounted.wasm")).unwrap();

    for plugin in ["direct", "relative", "stepped", "mounted"] {
        let text = refusal(&folder, plugin);
        assert!(text.contains("outside of the plugins folder"), "{text}");
        assert!(text.contains("/secret`"), "{text}");
    }
}

#[test]
fn a_sibling_folder_with_the_same_beginning_is_outside() {
    let (dir, folder) = folder();
    let sibling = dir.path().join("plugins-old");
    fs::create_dir(&sibling).unwrap();
    fs::write(sibling.join("shop.wasm"), "old").unwrap();
    symlink("../plugins-old/shop.wasm", folder.dir().join("shop.wasm")).unwrap();

    assert!(matches!(folder.read(&name("shop")), Err(FileProblem::Outside { .. })));
}

#[test]
fn links_as_kubernetes_mounts_them_are_followed() {
    let (dir, folder) = folder();
    let version = folder.dir().join("..2026_01_01");
    fs::create_dir(&version).unwrap();
    fs::write(version.join("shop.wasm"), "mounted").unwrap();
    symlink("..2026_01_01", folder.dir().join("..data")).unwrap();
    symlink("..data/shop.wasm", folder.dir().join("shop.wasm")).unwrap();
    assert_eq!(folder.read(&name("shop")).unwrap().bytes, b"mounted");

    // The folder itself may be a link too.
    let link = dir.path().join("link");
    symlink(folder.dir(), &link).unwrap();
    assert_eq!(Folder::new(link).read(&name("shop")).unwrap().bytes, b"mounted");
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let (_dir, folder) = folder();
    let at = |file: &str| folder.dir().join(file);
    mknodat(rustix::fs::CWD, at("pipe.wasm"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(at("dir.wasm")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("socket.wasm")).unwrap();
    symlink("loop.wasm", at("loop.wasm")).unwrap();
    symlink("nowhere.wasm", at("dangling.wasm")).unwrap();

    let (send, answers) = mpsc::channel();
    let other = folder.clone();
    std::thread::spawn(move || {
        for plugin in ["pipe", "dir", "socket", "loop", "dangling"] {
            send.send(refusal(&other, plugin)).unwrap();
        }
    });
    let next = || answers.recv_timeout(Duration::from_secs(20)).expect("a refusal, not a wait");
    assert!(next().ends_with("/pipe.wasm` is a named pipe; expected a regular file"));
    assert!(next().ends_with("/dir.wasm` is a directory; expected a regular file"));
    assert!(next().ends_with("/socket.wasm` is a socket; expected a regular file"));
    assert!(next().contains("/loop.wasm` cannot be read: "));
    assert!(next().starts_with("there is no `"));
}

#[test]
fn a_device_is_refused_also_without_a_link() {
    // A device cannot be made without privileges, so the folder is where they are.
    let read = regular::read(Path::new("/dev/zero"), MAX_PLUGIN_BYTES);
    assert!(matches!(read, Err(Unread::NotAFile("a device"))));

    let (_dir, folder) = folder();
    symlink("/dev/zero", folder.dir().join("zero.wasm")).unwrap();
    assert!(matches!(folder.read(&name("zero")), Err(FileProblem::Outside { .. })));
}

#[test]
fn a_file_above_the_size_cap_is_refused_by_its_size() {
    let (_dir, folder) = folder();
    fs::File::create(folder.dir().join("huge.wasm")).unwrap().set_len(MAX_PLUGIN_BYTES + 1).unwrap();
    assert!(refusal(&folder, "huge").contains("is larger than 67108864 bytes"));
}

#[test]
fn names_that_are_no_plugins_are_listed_with_the_reason() {
    let (_dir, folder) = folder();
    let long = format!("{}.wasm", "a".repeat(200));
    for file in ["shop.wasm", "Shop.wasm", "Cart.wasm", "tax.WASM", "a b.wasm", ".wasm", "-x.wasm", &long] {
        fs::write(folder.dir().join(file), "").unwrap();
    }
    fs::write(folder.dir().join(std::ffi::OsStr::from_bytes(b"\xff.wasm")), "").unwrap();
    for file in ["shop.wasm.dwp", "shop.wasm.minisig", "plugins.lock"] {
        fs::write(folder.dir().join(file), "").unwrap();
    }

    assert_eq!(folder.names(), [name("shop")]);
    let others = folder.others();
    let why = |file: &str| others.iter().find(|other| other.file == file).map(|other| other.why.as_str()).unwrap();
    assert!(why("Shop.wasm").starts_with("differs from `shop.wasm` only in case"));
    assert!(why("Cart.wasm").ends_with("rename it to `cart.wasm`"));
    assert!(why("tax.WASM").ends_with("rename it to `tax.wasm`"));
    assert!(why("a b.wasm").contains("`a b` is not a plugin name: expected 1 to 63 of"));
    assert!(why("-x.wasm").contains("beginning with a letter or a digit"));
    assert!(why(&long).contains("expected 1 to 63"));
    assert!(why("\u{fffd}.wasm").contains("is not a plugin name"));
    assert_eq!(others.len(), 7, "{others:?}");
}

#[test]
fn debug_info_beside_a_plugin_is_never_opened() {
    let (_dir, folder) = folder();
    fs::write(folder.dir().join("shop.wasm"), "build").unwrap();
    // Opening a pipe for reading would let this writer's open succeed; without a reader it is refused at once.
    let dwp = folder.dir().join("shop.wasm.dwp");
    mknodat(rustix::fs::CWD, &dwp, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

    let reader = std::thread::spawn({
        let folder = folder.clone();
        move || {
            for _ in 0..200 {
                assert_eq!(folder.read(&name("shop")).unwrap().bytes, b"build");
                assert_eq!((folder.names(), folder.others()), (vec![name("shop")], vec![]));
            }
        }
    });
    while !reader.is_finished() {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let opened = rustix::fs::open(&dwp, flags, Mode::empty());
        assert_eq!(opened.err(), Some(rustix::io::Errno::NXIO), "somebody reads the pipe");
    }
    reader.join().unwrap();
}

#[test]
fn a_file_replaced_all_the_time_is_one_of_its_versions_or_a_refusal() {
    let (_dir, folder) = folder();
    let path = folder.dir().join("shop.wasm");
    let version = |byte: u8| vec![byte; 20_000 + usize::from(byte)];
    fs::write(&path, version(0)).unwrap();
    let writer = std::thread::spawn({
        let folder = folder.clone();
        move || {
            for byte in 1..=200u8 {
                let next = folder.dir().join("next");
                fs::write(&next, vec![byte; 20_000 + usize::from(byte)]).unwrap();
                fs::rename(next, folder.dir().join("shop.wasm")).unwrap();
            }
        }
    });
    let mut readings = 0;
    while !writer.is_finished() {
        match folder.read(&name("shop")) {
            Ok(file) => {
                assert_eq!(file.bytes, version(file.bytes[0]));
                readings += 1;
            }
            Err(problem) => assert!(matches!(problem, FileProblem::Changing { .. }), "{problem}"),
        }
    }
    writer.join().unwrap();
    assert_eq!(folder.read(&name("shop")).unwrap().bytes, version(200));
    assert!(readings > 0);
}
