//! However a file comes into the folder, it becomes one new generation with its final content (cases E2, E3, E11).

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::guests::{good, variant};
use super::{Feed, config, digest, each_once, emit, home, put, serves};
use crate::harness::{Home, Host, On};

/// Waits until this build serves, and lets the host look once more: it was one new generation and stays one.
fn is_generation(home: &Home, host: &Host, number: u64, build: &[u8], how: &str) {
    host.until_plugin(how, serves(build));
    let again = home.run(&["reload"]);
    assert_eq!(again.code, 0, "{how}: {}", again.err);
    assert!(again.out.contains("nothing has changed"), "{how}: {}", again.out);
    let plugin = host.plugin();
    assert_eq!((plugin.generation, plugin.digest), (number, digest(build)), "{how}");
}

#[test]
fn however_a_file_is_replaced_it_is_one_new_generation() {
    type Write = fn(&Path, &[u8]);
    let ways: [(&str, Write); 7] = [
        ("renamed over", |path, bytes| {
            fs::write(path.with_extension("new"), bytes).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("written slowly", |path, bytes| {
            let mut file = File::create(path).unwrap();
            for byte in bytes {
                file.write_all(&[*byte]).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        }),
        ("truncated in place", |path, bytes| {
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(0).unwrap();
            thread::sleep(Duration::from_millis(60));
            file.write_all(bytes).unwrap();
        }),
        ("deleted, and created again at once", |path, bytes| {
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        }),
        ("deleted, and created again after it was missed", |path, bytes| {
            fs::remove_file(path).unwrap();
            thread::sleep(Duration::from_millis(700));
            fs::write(path, bytes).unwrap();
        }),
        ("linked", |path, bytes| {
            fs::write(path.with_extension("linked"), bytes).unwrap();
            fs::remove_file(path).unwrap();
            fs::hard_link(path.with_extension("linked"), path).unwrap();
        }),
        ("copied", |path, bytes| {
            fs::write(path.with_extension("new"), bytes).unwrap();
            fs::copy(path.with_extension("new"), path).unwrap();
        }),
    ];
    let build = good("one");
    let home = home("", &build);
    let host = home.start();
    let feed = Feed::start(&home, 100, |_| "in.a");
    for (number, (how, write)) in ways.into_iter().enumerate() {
        let next = variant(&build, number);
        let before = host.route("forward").done;
        write(&home.path("plugins/forward.wasm"), &next);
        is_generation(&home, &host, number as u64 + 2, &next, how);
        host.until(&format!("events go on after it was {how}"), |status| status.routes.routes[0].counts.done > before);
    }
    let events = feed.stop();
    host.until_done("forward", events);
    host.stop();
    each_once(&home, events);
}

/// Case E3: `forward.wasm -> ..data/forward.wasm`, `..data -> ..<time>`; a new folder, and the link is renamed over.
#[test]
fn the_links_of_kubernetes_are_followed() {
    let build = good("one");
    let home = Home::new(On::Embedded, &config(""));
    let mount = home.path("plugins");
    let publish = |folder: &str, bytes: &[u8]| {
        fs::create_dir_all(mount.join(folder)).unwrap();
        fs::write(mount.join(folder).join("forward.wasm"), bytes).unwrap();
        symlink(folder, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    publish("..2026_01_01", &build);
    symlink("..data/forward.wasm", mount.join("forward.wasm")).unwrap();
    let host = home.start();
    for number in 1..=3 {
        let next = variant(&build, number);
        publish(&format!("..2026_02_0{number}"), &next);
        fs::remove_dir_all(mount.join(if number == 1 {
            "..2026_01_01".to_owned()
        } else {
            format!("..2026_02_0{}", number - 1)
        }))
        .unwrap();
        is_generation(&home, &host, number as u64 + 1, &next, "linked as Kubernetes does");
    }
    emit(&home, 0..20);
    host.until_done("forward", 20);
    host.stop();
    each_once(&home, 20);
}

/// Case E11.
#[test]
fn a_plugin_whose_file_is_removed_goes_on_and_says_so() {
    let build = good("one");
    let home = home("", &build);
    let host = home.start();
    let feed = Feed::start(&home, 200, |_| "in.a");
    fs::remove_file(home.path("plugins/forward.wasm")).unwrap();
    let plugin = host.until_plugin("missed", |plugin| plugin.refused.is_some());
    assert_eq!((plugin.digest, plugin.generation), (digest(&build), 1));
    let why = plugin.refused.unwrap().why;
    assert!(why.contains("there is no") && why.contains("forward.wasm"), "{why}");
    let before = host.route("forward").done;
    host.until("going on", |status| status.routes.routes[0].counts.done > before + 20);

    put(&home, &good("two"));
    host.until_plugin("another file", serves(&good("two")));
    let events = feed.stop();
    host.until_done("forward", events);
    host.stop();
    each_once(&home, events);
}
