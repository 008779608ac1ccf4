//! Two hosts, one NATS server, one PostgreSQL: one host folds, the other stands by, answers, and takes over.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tidemill_core::projection::ProjectionState;

use super::{config, count, emit, home, read_models};
use crate::harness::{Home, Host, On};
use crate::postgres::Server;

/// Short enough to be sat out, long enough for a host on a busy machine.
const LEASE: &str = "3s";

/// Two folders with the same configuration. The first one has the NATS server.
struct Pair {
    one: Home,
    other: Home,
}

// === impl Pair ===

impl Pair {
    fn new() -> Self {
        let url = Server::shared().url();
        let schema = format!("t{:016x}", fastrand::u64(..));
        let store = format!("read_models: {{ postgres: {{ url: \"{url}\", schema: {schema}, lease: {LEASE} }} }}\n");
        let (one, other) = (home(On::Nats, ""), home(On::Embedded, ""));
        let text = format!("{}{store}", config("    batch: 50"));
        one.configure(&text);
        let nats = &one.server.as_ref().unwrap().url;
        other.configure(&format!("{text}broker: {{ nats: {{ servers: [\"{nats}\"] }} }}\n"));
        Self { one, other }
    }

    /// Starts both; the first one folds.
    fn start(&self) -> (Host, Host) {
        let active = self.one.start();
        active.until_projection("orders", "claimed", |one| one.active.is_some() && !stands_by(&one.state));
        let standby = self.other.start();
        standby.until_projection("orders", "standing by", |one| stands_by(&one.state));
        (active, standby)
    }

    /// What both answer is what a count of the streams says.
    fn compare(&self, hosts: &[&Host]) {
        let expected = count::of(&self.one);
        hosts.iter().for_each(|host| read_models(host).assert_is(&expected));
    }
}

fn stands_by(state: &ProjectionState) -> bool {
    matches!(state, ProjectionState::Standby { .. })
}

fn folds(host: &Host, what: &str) {
    host.until_projection("orders", what, |one| matches!(one.state, ProjectionState::Running));
}

/// Publishes in another process's time: hosts come and go meanwhile.
fn emitting(pair: &Arc<Pair>, orders: std::ops::Range<usize>) -> thread::JoinHandle<()> {
    let pair = Arc::clone(pair);
    thread::spawn(move || {
        for start in orders.step_by(100) {
            emit(&pair.one, start..start + 100);
        }
    })
}

#[test]
fn when_the_host_that_folds_is_killed_the_other_takes_over() {
    let pair = Arc::new(Pair::new());
    emit(&pair.one, 0..500);
    let (active, standby) = pair.start();
    let feed = emitting(&pair, 500..2000);
    // Whoever asks the one that stands by is answered with what the other has written.
    let token = super::post(&standby, 3001);
    let answer = standby.get(&format!("/v1/read-models/orders/o-03001?wait_for={token}&timeout=30s"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = pair.other.run(&["projection", "rebuild", "orders", "--detach"]);
    assert!(told.code == 1 && told.err.contains("is active on the host"), "{}", told.err);

    active.kill();
    folds(&standby, "taken over");
    feed.join().unwrap();
    standby.until_folded("orders");
    let back = pair.one.start();
    back.until_projection("orders", "standing by", |one| stands_by(&one.state));
    pair.compare(&[&standby, &back]);

    // One that ends properly gives its claim back: nobody has to wait for the lease.
    standby.stop();
    folds(&back, "taken over again");
    emit(&pair.one, 2000..2100);
    back.until_folded("orders");
    pair.compare(&[&back]);
    back.stop();
}

#[test]
fn a_host_that_was_frozen_and_goes_on_writes_nothing_any_more() {
    let pair = Arc::new(Pair::new());
    emit(&pair.one, 0..1000);
    let (active, standby) = pair.start();
    let feed = emitting(&pair, 1000..2000);
    // While it folds.
    thread::sleep(Duration::from_millis(fastrand::u64(0..400)));
    active.signal("STOP");
    folds(&standby, "taken over");
    emit(&pair.one, 2000..2200);
    active.signal("CONT");
    active.until_projection("orders", "standing by", |one| stands_by(&one.state));
    feed.join().unwrap();
    standby.until_folded("orders");
    pair.compare(&[&standby]);
    // And so it is with the events that come now: the one folds them, once.
    emit(&pair.one, 2200..2300);
    standby.until_folded("orders");
    pair.compare(&[&standby, &active]);
    assert!(stands_by(&active.projection("orders").state));
    active.stop();
    standby.stop();
}
