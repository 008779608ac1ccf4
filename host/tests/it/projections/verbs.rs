//! `tidemill projection`, and what the other commands say of projections: text, JSON, exit codes.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{emit, home};
use crate::harness::{Home, Host, On};
use crate::reload::configuration::configure;
use crate::reload::guests::variant;

fn running() -> (Home, Host) {
    let home = home(On::Embedded, "");
    emit(&home, 1..51);
    let host = home.start();
    host.until_folded("orders");
    (home, host)
}

/// Runs it, which must succeed, and answers what it says.
fn told(home: &Home, arguments: &[&str]) -> String {
    let ran = home.run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran.out
}

/// That it fails like this, and says so.
fn refused(home: &Home, arguments: &[&str], code: i32, sentence: &str) {
    let ran = home.run(arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {} {}", ran.out, ran.err);
    assert!(ran.err.contains(sentence), "{arguments:?}: {sentence} in:\n{}", ran.err);
}

#[test]
fn a_line_and_all_details_of_a_projection() {
    let (home, host) = running();
    let events = 50 + 25 + 13 + 5;
    let list = told(&home, &["projection", "list"]);
    let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.next().unwrap(),
        ["projection", "state", "copy", "folded", "lag", "behind", "dead-lettered", "position"]
    );
    let line = lines.next().unwrap();
    assert_eq!(line[..4], ["orders", "running", "1", &events.to_string()]);
    assert_eq!(line[4..], ["0", "0.0", "s", "0", "ORDERS:68", "PAYMENTS:25"]);
    let status = told(&home, &["status"]);
    assert!(list.lines().all(|line| status.contains(line)), "{status}");

    let details = told(&home, &["projection", "status", "orders"]);
    for part in
        ["projection  orders", "state       running", "active      copy 1, begun by sha256:", "ORDERS:68, 0 events"]
    {
        assert!(details.contains(part), "{part} in:\n{details}");
    }
    let one = home.json(&["projection", "status", "orders"]);
    assert_eq!(one["state"], json!({ "is": "running" }));
    assert_eq!(one["active"]["positions"], json!({ "ORDERS": 68, "PAYMENTS": 25 }));
    assert_eq!((&one["active"]["folded"], &one["building"]), (&json!(events), &Value::Null));
    assert_eq!(home.json(&["projection", "list"]), json!([one]));
    assert_eq!(home.json(&["status"])["projections"], json!([one]));
    host.stop();
}

#[test]
fn orders_and_what_is_said_where_they_cannot_be_carried_out() {
    let (home, host) = running();
    let verb = |name: &str| -> String { told(&home, &["projection", name, "orders"]) };
    let no = |name: &str, sentence: &str| refused(&home, &["projection", name, "orders"], 1, sentence);
    no("cancel", "no rebuild is under way");
    no("rollback", "there is no previous copy to go back to");
    let rebuilt = "copy 2 of `orders` serves; `tidemill projection rollback orders` goes back to the one before";
    assert_eq!(verb("rebuild").trim(), rebuilt);
    let as_json = home.json(&["projection", "rebuild", "orders"]);
    assert_eq!((&as_json["active"]["number"], &as_json["previous"]["number"]), (&json!(3), &json!(2)));
    assert_eq!(verb("rollback").trim(), "the copy before serves `orders` again, and catches up");
    assert_eq!(verb("pause").trim(), "`orders` is paused, also over a restart");
    no("rebuild", "the projection is paused; `resume` it first");
    assert!(told(&home, &["projection", "list"]).contains("paused"));
    let resumed = home.json(&["projection", "resume", "orders"]);
    assert_eq!(resumed, json!({ "done": "`orders` goes on" }));

    let reset = |from: &[&str]| home.run(&[&["projection", "reset", "orders"], from].concat());
    assert_eq!(reset(&[]).code, 2, "--from is required");
    for wrong in ["ORDERS", "ORDERS:x", "ORDERS:-1"] {
        let ran = reset(&["--from", wrong]);
        let sentence = format!("--from: expected STREAM:SEQUENCE like `ORDERS:120000`, found `{wrong}`");
        assert!(ran.code == 65 && ran.err.contains(&sentence), "{wrong}: {}", ran.err);
    }
    let unknown = reset(&["--from", "MAILS:1"]);
    let sentence = "the projection does not read the stream `MAILS`; it reads `ORDERS`, `PAYMENTS`";
    assert!(unknown.code == 1 && unknown.err.contains(sentence), "{}", unknown.err);
    let ran = reset(&["--from", "ORDERS:60", "--from", "PAYMENTS:20"]);
    assert_eq!(
        (ran.code, ran.out.trim()),
        (0, "an empty copy serves `orders`, and is filled from there on"),
        "{}",
        ran.err
    );
    assert_eq!(host.until_folded("orders").active.unwrap().folded, 8 + 5);
    host.stop();
}

/// Meanwhile it is told how far it is, and other orders are refused; whoever watches it learns of its end.
#[test]
fn a_rebuild_that_is_under_way_can_be_cancelled() {
    let (home, host) = running();
    // A lot to fold, a commit for each event.
    configure(&home, &super::config("    batch: 1"));
    assert_eq!(home.run(&["reload"]).code, 0);
    emit(&home, 51..3000);
    host.until_folded("orders");
    let told = home.json(&["projection", "rebuild", "orders", "--detach"]);
    let sentence = "copy 2 of `orders` is being filled; `tidemill projection status orders` says how far it is";
    assert_eq!(told, json!({ "done": sentence }));
    refused(&home, &["projection", "rebuild", "orders"], 1, "a rebuild is under way (copy 2); cancel it first");
    refused(&home, &["projection", "rollback", "orders"], 1, "a rebuild is under way (copy 2); cancel it first");
    let under_way = host.until_projection("orders", "under way", |one| one.rebuild.is_some_and(|it| it.done > 0));
    let progress = under_way.rebuild.unwrap();
    assert!(progress.done <= progress.target && under_way.active.unwrap().number == 1, "{progress:?}");
    let details = home.run(&["projection", "status", "orders"]).out;
    assert!(details.contains("rebuilding: ") && details.contains("building    copy 2"), "{details}");

    assert_eq!(home.run(&["projection", "cancel", "orders"]).out.trim(), "the rebuild of `orders` is given up");
    let after = host.until_folded("orders");
    assert_eq!((after.active.unwrap().number, after.previous), (1, None));
    let watched =
        home.command(&["projection", "rebuild", "orders"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    host.until_projection("orders", "under way again", |one| one.building.is_some());
    // It looks every fifth of a second; a cancel before its first look would not be seen as its own.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(home.run(&["projection", "cancel", "orders"]).code, 0);
    let ended = watched.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the rebuild of `orders` came to nothing, the copy before serves on: it was cancelled"),
        "{said}"
    );
    host.stop();
}

#[test]
fn documents_as_a_table_and_as_json() {
    let (home, host) = running();
    let of_orders = |rest: &[&'static str]| [&["projection", "query", "orders"], rest].concat();
    let json = |rest: &[&'static str]| home.json(&of_orders(rest));
    let text = |rest: &[&'static str]| told(&home, &of_orders(rest));

    let one = json(&["o-00007"]);
    assert_eq!(
        (&one["key"], &one["document"]["status"], &one["document"]["total"]),
        (&json!("o-00007"), &json!("pending"), &json!(12.59))
    );
    assert_eq!(one["positions"], json!(["ORDERS:68", "PAYMENTS:25"]));
    let table = text(&["-f", "status=shipped", "--sort=-total", "--limit", "2", "--fields", "status,total"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["key", "status", "total"]);
    assert_eq!(rows[1], ["o-00049", "shipped", "28.13"]);
    assert_eq!(rows[4][..2], ["more:", "--cursor"], "{table}");
    let next = ["projection", "query", "orders", "-f", "status=shipped", "--sort=-total", "--cursor", rows[4][2]];
    let next = home.json(&next);
    assert_eq!(next["items"][0]["key"], "o-00041");
    assert_eq!(json(&["-f", "total[gte]=28", "--wait-for", "ORDERS:68"])["items"].as_array().unwrap().len(), 2);

    let ask = |rest: &[&str], code: i32, sentence: &str| {
        refused(&home, &[&["projection", "query"], rest].concat(), code, sentence);
    };
    ask(&["nothing"], 1, "there is no collection `nothing`; there are: orders, customer-totals");
    ask(&["orders", "o-99999"], 1, "the collection `orders` has no document `o-99999`");
    ask(&["orders", "-f", "items=1"], 1, "projections[].collections.orders.indexes");
    ask(
        &["orders", "--wait-for", "ORDERS:9999", "--timeout", "100ms"],
        69,
        "after 100ms the read model is at ORDERS:68",
    );
    host.stop();
}

#[test]
fn names_that_nobody_has_and_a_host_that_is_not_there() {
    let (home, host) = running();
    let verbs: &[&[&str]] = &[
        &["status"],
        &["rebuild"],
        &["cancel"],
        &["rollback"],
        &["pause"],
        &["resume"],
        &["reset", "--from", "ORDERS:1"],
    ];
    for verb in verbs {
        let arguments = [&["projection", verb[0], "ordres"], &verb[1..]].concat();
        refused(&home, &arguments, 65, "there is no projection `ordres`; there are: orders");
    }
    refused(&home, &["projection", "pause", "No Name"], 65, "No Name");
    refused(&home, &["dlq", "list", "--route", "ordres"], 65, "--route: there is no `ordres`; there are orders");
    host.stop();
    refused(&home, &["projection", "list"], 69, "no host is running");
}

/// `check` and `plugins` know projections, whether a host runs or not.
#[test]
fn other_commands_know_what_projections_use() {
    let home = home(On::Embedded, "");
    let well = told(&home, &["check"]);
    assert!(well.contains("1 projection") && well.contains("1 plugin: all well"), "{well}");
    let checked = home.json(&["check"]);
    assert_eq!((&checked["projections"], &checked["plugins"]), (&json!(1), &json!(["order-view"])), "{checked}");
    let listed = told(&home, &["plugins", "list"]);
    assert!(listed.contains("orders") && !listed.contains("no route"), "{listed}");

    let inspected = told(&home, &["plugins", "inspect", "order-view"]);
    for part in
        ["order-view: a projection", "tidemill:plugin/event-projection@0.2.0", "read-model@0.2.0", "not running"]
    {
        assert!(inspected.contains(part), "{part} in:\n{inspected}");
    }
    let host = home.start();
    let running = home.json(&["plugins", "inspect", "order-view"])["running"].clone();
    assert_eq!(running["state"], "live", "{running}");
    host.stop();

    home.put_plugin("order-view", &variant(b"no component", 1));
    let ran = home.run(&["check"]);
    assert!(ran.code == 78 && ran.err.contains("plugin `order-view` of projection `orders`"), "{}", ran.err);
    home.install(&["fraud-check"]);
    home.put_plugin("order-view", &std::fs::read(home.path("plugins/fraud-check.wasm")).unwrap());
    let ran = home.run(&["check"]);
    assert!(ran.code == 78 && ran.err.contains("projection"), "a handler is no projection: {}", ran.err);
}

/// Also without routes: a host may be there for read models only.
#[test]
fn a_host_of_projections_only_knows_when_everything_is_folded() {
    let home = home(On::Embedded, "");
    emit(&home, 1..51);
    let mut run = home.command(&["run", "--until-idle"]);
    let mut run = run.stderr(std::process::Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let ended = loop {
        if let Some(ended) = run.try_wait().unwrap() {
            break Some(ended);
        }
        if std::time::Instant::now() > deadline {
            run.kill().unwrap();
            run.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(ended.expect("it ends").success());
    let host = home.start();
    assert_eq!(host.projection("orders").active.unwrap().folded, 93);
    super::stop_and_compare(&home, host);
}
