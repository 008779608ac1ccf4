//! Every way in which people and tools replace a file is one generation, with the final content (case E2).

use std::io::Write as _;
use std::process::Command;

use super::*;

/// `write` replaces the old build by the new one in its own way; the host sees one new generation, with the final content.
async fn one_generation(quiet: Duration, write: Step) {
    let home = Home::new();
    let mut watch = home.watch().await;
    let home = Arc::new(home);
    let writer = tokio::task::spawn_blocking({
        let home = Arc::clone(&home);
        move || write(&home)
    });
    let mut seen = generations(&home, &mut watch, quiet, NEW).await;
    writer.await.unwrap();
    // A first look may come before the writer's first byte.
    seen.retain(|bytes| bytes != OLD);
    assert_eq!(seen, [NEW]);
    assert_eq!(home.read().unwrap(), NEW);
    assert!(!watch.is_polling());
}

fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_write_is_one_generation() {
    one_generation(Duration::from_secs(1), |home| {
        let mut file = fs::File::create(home.plugin()).unwrap();
        for byte in NEW {
            file.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncating_in_place_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| fs::write(home.plugin(), NEW).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renaming_over_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| {
        fs::write(home.path("plugins/.shop.wasm.Xa41"), NEW).unwrap();
        fs::rename(home.path("plugins/.shop.wasm.Xa41"), home.plugin()).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renaming_into_the_folder_from_outside_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| {
        fs::write(home.path("built.wasm"), NEW).unwrap();
        fs::rename(home.path("built.wasm"), home.plugin()).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_and_creating_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| {
        fs::remove_file(home.plugin()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(home.plugin(), NEW).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_link_swap_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| {
        fs::write(home.path("built.wasm"), NEW).unwrap();
        run("ln", &["-f", home.path("built.wasm").to_str().unwrap(), home.plugin().to_str().unwrap()]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copying_over_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| {
        fs::write(home.path("built.wasm"), NEW).unwrap();
        run("cp", &[home.path("built.wasm").to_str().unwrap(), home.plugin().to_str().unwrap()]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editors_way_is_one_generation() {
    one_generation(DEFAULT_QUIET, |home| {
        fs::write(home.path("plugins/4913"), "").unwrap();
        fs::remove_file(home.path("plugins/4913")).unwrap();
        fs::rename(home.plugin(), home.path("plugins/shop.wasm~")).unwrap();
        fs::write(home.plugin(), NEW).unwrap();
        fs::remove_file(home.path("plugins/shop.wasm~")).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_same_size_with_the_old_time_is_seen() {
    let home = Home::new();
    let mut watch = home.watch().await;
    let time = fs::metadata(home.plugin()).unwrap().modified().unwrap();
    let before = Snapshot::take(&home.places);

    let other: Vec<u8> = OLD.to_ascii_uppercase();
    fs::write(home.plugin(), &other).unwrap();
    OpenOptions::new().write(true).open(home.plugin()).unwrap().set_modified(time).unwrap();

    assert_eq!(generations(&home, &mut watch, DEFAULT_QUIET, &other).await.last().unwrap(), &other);
    assert_ne!(Snapshot::take(&home.places), before);
}
