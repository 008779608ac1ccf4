//! SIGKILL of the host at random moments, while it folds, rebuilds, switches, is rolled back and is reset.

use std::thread;
use std::time::Duration;

use super::{documents, emit, home, stop_and_compare};
use crate::harness::{Home, Host, On, root};
use crate::reload::guests::variant;

const ROUNDS: usize = 12;
const ORDERS_PER_ROUND: usize = 250;

/// What a person does, as far as it can be done just then. A `reset` to the beginnings loses nothing.
fn meddle(home: &Home, random: &mut fastrand::Rng, round: usize) {
    let verbs: &[&[&str]] = &[
        &["rebuild", "orders", "--detach"],
        &["cancel", "orders"],
        &["rollback", "orders"],
        &["reset", "orders", "--from", "ORDERS:0"],
        &["pause", "orders"],
        &["resume", "orders"],
    ];
    match random.usize(0..verbs.len() + 3) {
        0 => {
            let build = std::fs::read(root().join("plugins/order-view.wasm")).unwrap();
            home.put_plugin("order-view", &variant(&build, round));
        }
        number @ 1..=6 => {
            let verb = verbs[number - 1];
            let ran = home.run(&[&["projection"], verb].concat());
            assert!([0, 1].contains(&ran.code), "{verb:?}: {} {}", ran.code, ran.err);
        }
        _ => {
            home.run(&["projection", "rebuild", "orders", "--detach"]);
        }
    }
}

fn killed_at_random_the_documents_are_what_a_separate_count_says(on: On) {
    let seed =
        std::env::var("TIDEMILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEMILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // Small batches: more moments between two of them.
    let home = home(on, "    batch: 20\n    rebuild: on_change");
    for round in 0..ROUNDS {
        emit(&home, round * ORDERS_PER_ROUND..(round + 1) * ORDERS_PER_ROUND);
        let host = home.start();
        for _ in 0..random.usize(0..3) {
            meddle(&home, &mut random, round);
            thread::sleep(Duration::from_millis(random.u64(0..250)));
        }
        thread::sleep(Duration::from_millis(random.u64(0..250)));
        host.kill();
    }
    let host = home.start();
    home.run(&["projection", "resume", "orders"]);
    host.until_folded("orders");
    each_copy_is_the_same(&home, &host);
    stop_and_compare(&home, host);
}

/// Whatever the kills left behind, a copy from scratch is no other.
fn each_copy_is_the_same(home: &Home, host: &Host) {
    let before = (documents(host, "orders"), documents(host, "customer-totals"));
    loop {
        let ran = home.run(&["projection", "rebuild", "orders"]);
        host.until_folded("orders");
        if ran.code == 0 {
            break;
        }
        // A build that was dropped in may have begun one by itself, at this very moment.
        assert!(ran.err.contains("a rebuild is under way"), "{}", ran.err);
    }
    assert!((documents(host, "orders"), documents(host, "customer-totals")) == before, "the rebuilt copy is another");
}

#[test]
fn killed_at_random_on_the_embedded_log() {
    killed_at_random_the_documents_are_what_a_separate_count_says(On::Embedded);
}

#[test]
fn killed_at_random_on_nats() {
    killed_at_random_the_documents_are_what_a_separate_count_says(On::Nats);
}
