//! The harness keeps the host's promises, and so do the functions that a handler calls through it.

use std::time::Duration;

use super::{Ended, Harness};
use crate::config::ConfigError;
use crate::log::Level;
use crate::prelude::*;
use crate::state::StateError;
use crate::{EmitError, FromData};

mod projections;

/// A handler whose behaviour the event names, so that each test reads as one table of cause and effect.
struct Puppet;

#[derive(Deserialize)]
struct Wish {
    wish: String,
}

impl Handler for Puppet {
    type Data = Wish;

    fn handle(event: Event<Wish>, context: &Context) -> Outcome {
        match event.data.wish.as_str() {
            "count" => {
                let count = state::update("count", |count: Option<u32>| count.unwrap_or(0) + 1)?;
                Emit::to("counts.made").kind("Counted").json(&count).send()?;
                Ok(())
            }
            "count, then reject" => {
                state::put("count", "99")?;
                Emit::to("counts.made").kind("Counted").json(&99).send()?;
                info!("about to reject {}", event.id; route = context.route, tries = context.attempt);
                Err(reject("changed my mind"))
            }
            "retry later" => Err(retry("not yet").after(Duration::from_secs(7))),
            "panic" => panic!("on {}", event.kind),
            "ignore a refusal" => {
                drop(Emit::to("secrets.told").kind("Told").send());
                Ok(())
            }
            "id" => {
                state::put("id", host::stable_id("thing"))?;
                if context.is_last_attempt() { Ok(()) } else { Err(retry("once more")) }
            }
            "time" => {
                let times = json!({ "limit": context.time_limit, "left": host::time_left() });
                Emit::to("times.told").kind("Told").json(&times).send()?;
                Ok(())
            }
            "set once" => {
                let set = state::compare_and_set("once", None, Some(b"1"))?;
                Emit::to("sets.made").kind("Set").json(&set).send()?;
                Ok(())
            }
            other => Err(reject(format!("no such wish: {other}"))),
        }
    }
}

crate::handler!(Puppet);

fn wish(wish: &str) -> Event<Raw> {
    Event::new("Wish").data(json!({ "wish": wish }))
}

#[test]
fn effects_of_a_done_call_stay() {
    let mut puppet = Harness::<Puppet>::new().state("count", 4);
    let run = puppet.handle(wish("count"));
    run.assert_done();
    assert_eq!(run.emitted("Counted").json(), json!(5));
    assert_eq!(puppet.handle(wish("count")).state_json::<u32>("count"), Some(6));
}

#[test]
fn effects_of_a_failed_call_vanish_and_its_log_stays() {
    let run = Harness::<Puppet>::new().state("count", 4).route("demo").handle(wish("count, then reject"));
    run.assert_rejected("changed my mind");
    run.assert_no_emits();
    assert_eq!(run.state_json::<u32>("count"), Some(4));
    assert!(run.logged(Level::Info, "about to reject event-1"));
    let fields = [("route", "demo"), ("tries", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(run.logs[0].fields, fields);
}

#[test]
fn retries_and_panics_are_told_apart() {
    let retry = Harness::<Puppet>::new().handle(wish("retry later"));
    assert_eq!(retry.outcome, Ended::Retry { reason: "not yet".into(), after: Some(Duration::from_secs(7)) });
    Harness::<Puppet>::new().handle(wish("panic")).assert_panicked("on Wish");
}

#[test]
fn data_that_does_not_fit_never_reaches_the_handler() {
    let run = Harness::<Puppet>::new().handle(Event::new("Wish").data(json!({ "wish": 1 })));
    run.assert_rejected("`/wish`: invalid type: integer `1`, expected a string");
}

#[test]
fn a_refused_emit_fails_the_call_even_if_it_is_ignored() {
    let run = Harness::<Puppet>::new().emits(["counts.*"]).handle(wish("ignore a refusal"));
    let Ended::Refused(EmitError::NotGranted(text)) = &run.outcome else { panic!("{:?}", run.outcome) };
    assert!(text.contains("`emits: [\"secrets.told\"]`"), "{text}");
    Harness::<Puppet>::new().emits(["counts.*"]).handle(wish("count")).assert_done();
}

#[test]
fn a_stable_id_is_the_same_for_a_redelivery_and_another_for_the_next_event() {
    let mut puppet = Harness::<Puppet>::new().attempt(5);
    let first = puppet.handle(wish("id")).state["id"].clone();
    let second = puppet.handle(wish("id")).state["id"].clone();
    assert_ne!(first, second);

    let mut puppet = Harness::<Puppet>::new();
    puppet.handle(wish("id")).assert_retry("once more");
    puppet = puppet.attempt(5);
    assert_eq!(puppet.handle(wish("id")).state["id"], first);
}

#[test]
fn the_time_that_is_left_is_the_time_limit_unless_the_test_says_otherwise() {
    let told = |mut puppet: Harness<Puppet>| puppet.handle(wish("time")).emitted("Told").json();
    let all = told(Harness::new());
    assert_eq!((&all["limit"], &all["left"]), (&json!(Duration::from_secs(5)), &all["limit"]));
    let little = told(Harness::new().time_left(Duration::from_millis(250)));
    assert_eq!((&little["limit"], &little["left"]), (&all["limit"], &json!(Duration::from_millis(250))));
}

#[test]
fn compare_and_set_sets_what_is_absent_once() {
    let mut puppet = Harness::<Puppet>::new();
    assert_eq!(puppet.handle(wish("set once")).emitted("Set").json(), json!(true));
    assert_eq!(puppet.handle(wish("set once")).emitted("Set").json(), json!(false));
}

/// Runs `body` where a handler's body runs.
fn inside<T: 'static>(harness: Harness<Puppet>, body: fn() -> T) -> T {
    struct Body;
    thread_local!(static BODY: std::cell::Cell<Option<Box<dyn FnOnce()>>> = const { std::cell::Cell::new(None) });

    impl Handler for Body {
        type Data = Raw;

        fn handle(_: Event<Raw>, _: &Context) -> Outcome {
            if let Some(body) = BODY.take() {
                body();
            }
            Ok(())
        }
    }

    let (sender, receiver) = std::sync::mpsc::channel();
    BODY.set(Some(Box::new(move || drop(sender.send(body())))));
    harness.with_handler::<Body>().handle(Event::new("Any")).assert_done();
    receiver.recv().unwrap()
}

#[test]
fn settings_are_read_as_texts_or_as_json() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Strict,
    }

    let harness = Harness::<Puppet>::new().config("text", "5").config("mode", "strict").config("list", [1, 2]);
    inside(harness.config("number", 1.5).config("flag", true), || {
        assert_eq!(config::get::<String>("text"), Ok(Some("5".into())));
        assert_eq!(config::get::<u8>("text"), Ok(Some(5)));
        assert_eq!(config::get::<Mode>("mode"), Ok(Some(Mode::Strict)));
        assert_eq!(config::get::<Vec<u8>>("list"), Ok(Some(vec![1, 2])));
        assert_eq!(config::get::<f64>("number"), Ok(Some(1.5)));
        assert_eq!(config::get::<bool>("flag"), Ok(Some(true)));
        assert_eq!(config::get::<bool>("nothing"), Ok(None));
        assert_eq!(config::keys(), ["flag", "list", "mode", "number", "text"]);
    });
}

#[test]
fn a_setting_that_does_not_fit_is_an_error_without_its_value() {
    let error = inside(Harness::new().config("token", "s3cret"), || config::get::<u32>("token").unwrap_err());
    assert!(!error.to_string().contains("s3cret") && error.to_string().contains("`token`"), "{error}");
    let missing = inside(Harness::new(), || config::require::<u32>("token").unwrap_err());
    assert_eq!(missing, ConfigError::Missing { key: "token".into() });
}

#[test]
fn keys_are_listed_in_order_and_page_by_page() {
    inside(Harness::new(), || {
        for n in 0..2500 {
            state::put(&format!("many/{n:04}"), "x").unwrap();
        }
        state::put("other", "x").unwrap();
        let keys = state::keys("many/").unwrap();
        assert_eq!((keys.len(), keys[0].as_str(), keys[2499].as_str()), (2500, "many/0000", "many/2499"));
        assert_eq!(state::list("many/", Some("many/0002"), 2).unwrap(), ["many/0003", "many/0004"]);
        state::delete("many/0003").unwrap();
        assert_eq!(state::get("many/0003"), Ok(None));
    });
}

#[test]
fn state_errors_say_what_is_wrong() {
    inside(Harness::new().state_bytes("count", "not JSON"), || {
        assert!(matches!(state::put("", "x"), Err(StateError::InvalidKey(_))));
        assert!(matches!(state::get("a\nb"), Err(StateError::InvalidKey(_))));
        assert!(matches!(state::put("big", vec![0; 600_000]), Err(StateError::Limit(_))));
        assert!(state::get_json::<u32>("count").unwrap_err().to_string().starts_with("the state's value of `count`:"));
    });
}

#[test]
fn an_emit_without_a_type_and_data_that_cannot_be_written_are_errors() {
    inside(Harness::new(), || {
        struct Unwritable;
        impl Serialize for Unwritable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let error = Emit::to("x").kind("X").json(&Unwritable).send().unwrap_err();
        assert_eq!(error, EmitError::Unwritable("no".into()));
    });
    let run = Harness::<NoKind>::new().handle(Event::new("Any"));
    let Ended::Refused(EmitError::Invalid(text)) = &run.outcome else { panic!("{:?}", run.outcome) };
    assert!(text.contains("no type"), "{text}");
}

struct NoKind;

impl Handler for NoKind {
    type Data = Raw;

    fn handle(_: Event<Raw>, _: &Context) -> Outcome {
        Emit::to("x").bytes("text/plain", "hello").send()?;
        Ok(())
    }
}

#[test]
fn raw_data_is_never_parsed() {
    assert_eq!(Raw::from_data(Raw(b"\xff{".to_vec())), Ok(Raw(b"\xff{".to_vec())));
}

#[test]
#[should_panic(expected = "only inside of a harness")]
fn outside_of_a_harness_there_is_no_host() {
    host::now();
}
