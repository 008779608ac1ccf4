//! `tidemill invoke`: a failure is seen again where a person looks at it, and nothing comes of the look.

use serde_json::{Value, json};

use crate::guest::{HOST, answering, handler};
use crate::harness::{Home, On, Ran};

const CONFIG: &str = r#"version: 1
schemas: { on_missing: allow }
streams:
  - { name: ORDERS, subjects: ["orders.>"] }
  - { name: PAYMENTS, subjects: ["payments.>"] }
plugins:
  settings:
    order-analytics: { state: true }
retry_policies:
  standard: { max_attempts: 2, backoff: { initial: 1ms } }
routes:
  - { name: payments, source: { stream: ORDERS, subjects: ["orders.created"] }, handler: payment-capture, emits: ["payments.>"] }
  - { name: analytics, source: { stream: ORDERS }, handler: order-analytics }
projections:
  - { name: orders, sources: [{ stream: ORDERS }], plugin: order-view, collections: { orders: {}, customer-totals: {} } }
"#;

fn order(id: &str, note: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/t", "type": "OrderCreated", "time": "2026-02-03T04:05:06Z",
        "data": {
            "order_id": id, "customer_id": "c-1", "total": 12.9, "note": note,
            "items": [{ "sku": "MUG-001", "quantity": 1, "unit_price": 12.9 }],
        },
    })
}

fn line(event: &Value) -> String {
    json!({ "subject": "orders.created", "event": event }).to_string()
}

fn home(on: On) -> Home {
    let home = Home::new(on, CONFIG);
    home.install(&["payment-capture", "order-analytics", "order-view"]);
    let events = [order("o-1", "thanks"), order("o-2", "poison"), order("o-3", "thanks")];
    home.write("orders.jsonl", &events.iter().map(|event| line(event) + "\n").collect::<String>());
    home
}

/// The answer as JSON, and the exit code.
fn invoke(home: &Home, arguments: &[&str]) -> (Value, i32) {
    let ran = run(home, &[arguments, &["--output", "json"]].concat());
    (serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err)), ran.code)
}

fn run(home: &Home, arguments: &[&str]) -> Ran {
    home.run(&[&["invoke"], arguments].concat())
}

fn a_dead_letter_is_reproduced_by_the_command_that_its_page_ends_with(on: On) {
    let home = home(on);
    home.json(&["run", "--feed", "orders.jsonl", "--until-idle"]);
    let letters = home.json(&["dlq", "list"]);
    let letter = &letters[0];
    let page = home.run(&["dlq", "show", &letter["id"].to_string()]).out;
    let command = page.lines().last().unwrap().rsplit_once("tidemill ").unwrap().1;
    assert_eq!(command, format!("invoke payment-capture --from-dlq {}", letter["id"]));

    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let ran = run(&home, &words);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for part in [
        "attempt 2 of 2",
        "trap (blame: plugin)",
        "order o-2 is poison",
        "its attempts are used up",
        "Nothing was committed.",
    ] {
        assert!(ran.out.contains(part), "{part:?} in:\n{}", ran.out);
    }
    let (answer, _) = invoke(&home, &words);
    assert_eq!((&answer["outcome"], &answer["attempt"]), (&letter["reason"], &letter["attempts"]));
    assert!(letter["error"].as_str().unwrap().starts_with(answer["error"].as_str().unwrap().lines().next().unwrap()));
    assert_eq!(answer["log"][0]["level"], "error", "the panic's own line is in the log: {answer:#}");
    // The clock stands where it stood when the event failed.
    assert_eq!(answer["now"].as_str().unwrap()[..19], letter["last_failure"].as_str().unwrap()[..19]);

    let repaired = [words.as_slice(), &["--set", "poison=capture"]].concat();
    let (answer, code) = invoke(&home, &repaired);
    assert_eq!((answer["outcome"].as_str().unwrap(), code), ("done", 0));
    assert_eq!(answer["emits"][0]["to"], "payments.captured");
    assert_eq!(home.json(&["dlq", "list"]), letters, "a look changes nothing");
}

#[test]
fn a_dead_letter_is_reproduced_on_the_embedded_log() {
    a_dead_letter_is_reproduced_by_the_command_that_its_page_ends_with(On::Embedded);
}

#[test]
fn a_dead_letter_is_reproduced_on_nats() {
    a_dead_letter_is_reproduced_by_the_command_that_its_page_ends_with(On::Nats);
}

#[test]
fn a_dead_letter_that_was_given_up_by_its_age_is_given_up_by_its_age_again() {
    let home = home(On::Embedded);
    home.write(
        "runtime.yaml",
        &CONFIG.replace(
            "max_attempts: 2, backoff: { initial: 1ms }",
            "max_attempts: 9, max_age: 1s, backoff: { initial: 800ms }",
        ),
    );
    home.json(&["run", "--feed", "orders.jsonl", "--until-idle"]);
    let letters = home.json(&["dlq", "list"]);
    assert_eq!(letters[0]["exhausted_by"], "age", "{letters:#}");
    let ran = run(&home, &["payment-capture", "--from-dlq", &letters[0]["id"].to_string()]);
    assert!(ran.out.contains("a dead letter: it has been failing for too long"), "{}", ran.out);
}

/// What the calls find there and would write.
fn what_is_there_is_found_and_stays_as_it_is(home: &Home) {
    let place = ["order-analytics", "--from-stream", "ORDERS:1"];
    let (answer, code) = invoke(home, &place);
    assert_eq!(code, 0);
    let change = json!({ "key": "count/OrderCreated", "before": 3, "after": 4 });
    assert!(answer["state"].as_array().unwrap().contains(&change), "{answer:#}");
    assert_eq!(invoke(home, &place).0["state"], answer["state"], "the second look finds what the first found");
    let (empty, _) = invoke(home, &[place.as_slice(), &["--empty"]].concat());
    let fresh = json!({ "key": "count/OrderCreated", "before": null, "after": 1 });
    assert!(empty["state"].as_array().unwrap().contains(&fresh), "{empty:#}");

    let (answer, _) = invoke(home, &["order-view", "--from-stream", "ORDERS:1"]);
    assert!(answer["log"][0]["text"].as_str().unwrap().contains("created twice"), "{answer:#}");
    let (answer, _) = invoke(home, &["order-view", "--from-stream", "ORDERS:1", "--empty"]);
    let written: Vec<_> = answer["documents"].as_array().unwrap().iter().map(|it| &it["key"]).collect();
    assert_eq!(written, ["c-1", "o-1"]);
}

#[test]
fn state_and_documents_are_read_where_no_host_runs() {
    for on in [On::Embedded, On::Nats] {
        let home = home(on);
        home.json(&["run", "--feed", "orders.jsonl", "--until-idle"]);
        what_is_there_is_found_and_stays_as_it_is(&home);
    }
}

#[test]
fn beside_a_running_host_they_are_read_through_its_socket() {
    let home = home(On::Embedded);
    home.json(&["run", "--feed", "orders.jsonl", "--until-idle"]);
    let host = home.start();
    what_is_there_is_found_and_stays_as_it_is(&home);
    let letters = home.json(&["dlq", "list"]);
    assert_eq!(invoke(&home, &["--from-dlq", &letters[0]["id"].to_string()]).0["outcome"], "trap");
    host.stop();
}

#[test]
fn an_event_of_a_file_meets_nothing_unless_it_is_given() {
    let home = home(On::Embedded);
    home.write("order.json", &serde_json::to_string_pretty(&order("o-9", "thanks")).unwrap());
    let (answer, code) = invoke(&home, &["payment-capture", "--event", "order.json"]);
    assert_eq!((answer["outcome"].as_str().unwrap(), code), ("done", 0));
    assert_eq!(answer["now"], "2026-02-03T04:05:06.000Z", "the hour that the event names");
    assert_eq!(answer["emits"][0]["data"]["amount"], 12.9);
    assert!(!home.path(".tidemill/log").exists(), "no log is made for a look");

    home.write("state.json", r#"{ "count/OrderCreated": 41, "note": { "$text": "no JSON" } }"#);
    let (answer, _) = invoke(&home, &["order-analytics", "--event", "order.json", "--state", "state.json"]);
    assert!(
        answer["state"]
            .as_array()
            .unwrap()
            .contains(&json!({ "key": "count/OrderCreated", "before": 41, "after": 42 }))
    );

    home.write(
        "documents.json",
        r#"{ "customer-totals": { "c-1": { "orders": 1, "cancelled": 0, "spent": { "USD": 1.1 } } } }"#,
    );
    let (answer, _) = invoke(&home, &["order-view", "--event", "order.json", "--documents", "documents.json"]);
    let totals = answer["documents"].as_array().unwrap().iter().find(|it| it["key"] == "c-1").unwrap();
    assert_eq!((&totals["before"]["orders"], &totals["after"]["spent"]["USD"]), (&json!(1), &json!(14.0)));
}

#[test]
fn exit_codes_say_whose_fault_it_is() {
    let home = home(On::Embedded);
    home.write("schemas/OrderCreated.json", r#"{ "required": ["order_id"] }"#);
    home.write(
        "bad.json",
        r#"{ "specversion": "1.0", "id": "1", "source": "/t", "type": "OrderCreated", "data": {} }"#,
    );
    home.write("raw.json", r#"{ "subject": "orders.created", "payload": "no event" }"#);
    for (arguments, code, says) in [
        (&["payment-capture", "--event", "bad.json"][..], 65, "the plugin is not called"),
        (&["payment-capture", "--event", "bad.json", "--no-validate"], 1, "missing field `order_id`"),
        (&["payment-capture", "--event", "raw.json"], 65, "malformed"),
        (&["payment-capture", "--event", "orders.jsonl"], 65, "`--line N` says which one is tried"),
        (&["payment-capture", "--event", "orders.jsonl", "--line", "2"], 1, "order o-2 is poison"),
        (&["payment-capture", "--event", "orders.jsonl", "--line", "2", "--attempt", "1"], 1, "attempt 2 after about"),
        (&["payment-capture", "--event", "nowhere.json"], 65, "nowhere.json"),
        (
            &["payments", "--event", "orders.jsonl", "--line", "1"],
            65,
            "`payments` is a route; the plugin that handles it is `payment-capture`",
        ),
        (&["payment-capture", "--event", "bad.json", "--route", "analytics"], 65, "it is used by `payments`"),
        (
            &["payment-capture", "--event", "orders.jsonl", "--line", "1", "--wasm", "runtime.yaml"],
            78,
            "is not WebAssembly",
        ),
        (&["--from-dlq", "7"], 69, "there is no embedded log"),
        (&["payment-capture", "--from-stream", "ORDERS"], 69, "there is no embedded log"),
        (&["payment-capture"], 2, "--event <FILE>"),
    ] {
        let ran = run(&home, arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(says) || ran.err.contains(says), "{says:?} in:\n{}{}", ran.out, ran.err);
    }
}

#[test]
fn a_refusal_names_the_line_that_would_allow_it() {
    let home = Home::new(On::Embedded, &CONFIG.replace(", emits: [\"payments.>\"]", ""));
    home.install(&["payment-capture", "order-analytics", "order-view"]);
    home.write("order.json", &order("o-1", "thanks").to_string());
    let ran = run(&home, &["payment-capture", "--event", "order.json"]);
    assert_eq!(ran.code, 1);
    let line = "the route's `emits: [\"payments.captured\"]` in runtime.yaml would allow it";
    assert!(ran.out.contains("effect-refused") && ran.out.contains(line), "{}", ran.out);
}

#[test]
fn a_build_that_is_not_in_the_folder_is_called_too() {
    let home = home(On::Embedded);
    home.json(&["run", "--feed", "orders.jsonl", "--until-idle"]);
    let id = home.json(&["dlq", "list"])[0]["id"].to_string();
    let failed = home.json(&["dlq", "show", &id])["digest"].as_str().unwrap().to_owned();
    let repaired = answering(&[], "(call $ok)");
    home.write("repaired.wasm", "");
    std::fs::write(home.path("repaired.wasm"), &repaired).unwrap();
    let (answer, code) = invoke(&home, &["--from-dlq", &id, "--wasm", "repaired.wasm"]);
    assert_eq!((answer["outcome"].as_str().unwrap(), code), ("done", 0));

    // What is in the folder now is not what failed; the page says how to call that one.
    home.put_plugin("payment-capture", &repaired);
    let ran = run(&home, &["--from-dlq", &id]);
    assert!(
        ran.out.contains(&format!("the build that failed was {}: `--build {failed}`", &failed[..19])),
        "{}",
        ran.out
    );
    let (answer, code) = invoke(&home, &["--from-dlq", &id, "--build", &failed]);
    assert_eq!(
        (answer["outcome"].as_str().unwrap(), answer["digest"].as_str().unwrap(), code),
        ("trap", failed.as_str(), 1)
    );
}

#[test]
fn repetition_finds_what_a_plugin_keeps_and_what_hangs_on_the_hour() {
    let home = home(On::Embedded);
    home.write("order.json", &order("o-1", "thanks").to_string());
    // Says how often its instance was called.
    let counting = handler(
        &[],
        r#"(data (i32.const 1000) "0")
           (func $handle (param i32) (result i32)
               (i32.store8 (i32.const 1000) (i32.add (i32.load8_u (i32.const 1000)) (i32.const 1)))
               (call $reject (i32.const 1000) (i32.const 1)))"#,
    );
    home.put_plugin("payment-capture", &counting);
    let (answer, code) = invoke(&home, &["payment-capture", "--event", "order.json", "--repeat", "3"]);
    assert_eq!(code, 1);
    let differences = json!([
        { "call": 2, "at": "/error", "first": "1", "this": "2" },
        { "call": 3, "at": "/error", "first": "1", "this": "3" },
    ]);
    assert_eq!(answer["differences"], differences);

    // Says what time it is.
    let telling = handler(
        &[HOST],
        r#"(func $handle (param i32) (result i32)
               (call $now (i32.const 1000))
               (call $reject (i32.load (i32.const 1000)) (i32.load (i32.const 1004))))"#,
    );
    home.put_plugin("payment-capture", &telling);
    let same = run(&home, &["payment-capture", "--event", "order.json", "--repeat", "3"]);
    assert!(same.out.contains("3 calls, each with the same answer"), "{}", same.out);
    let (varied, _) = invoke(&home, &["payment-capture", "--event", "order.json", "--repeat", "2", "--vary"]);
    assert_eq!(varied["differences"].as_array().unwrap().len(), 1, "{varied:#}");
    let (at, _) = invoke(&home, &["payment-capture", "--event", "order.json", "--at", "2030-01-01T00:00:00Z"]);
    assert_eq!(at["error"], "2030-01-01T00:00:00.000Z");
}

#[test]
fn on_nats_a_look_creates_nothing() {
    let home = home(On::Nats);
    let ran = run(&home, &["--from-dlq", "1"]);
    assert_eq!(ran.code, 65, "{}", ran.err);
    assert!(ran.err.contains("there is no dead letter 1"), "{}", ran.err);
    let ran = run(&home, &["payment-capture", "--from-stream", "ORDERS:1"]);
    assert_eq!(ran.code, 65, "{}", ran.err);
    assert!(ran.err.contains("the stream `ORDERS` holds no message 1"), "{}", ran.err);
    home.write("order.json", &order("o-1", "thanks").to_string());
    assert_eq!(run(&home, &["order-analytics", "--event", "order.json", "--live"]).code, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streams = runtime.block_on(async {
        let client = async_nats::connect(&home.server.as_ref().unwrap().url).await.unwrap();
        let context = async_nats::jetstream::new(client);
        futures_util::TryStreamExt::try_collect::<Vec<String>>(context.stream_names()).await.unwrap()
    });
    assert_eq!(streams, Vec::<String>::new());
}
