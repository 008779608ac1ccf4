//! What can be written in a `*_test.yaml`, field by field. The comments are shown in an editor and in `docs/testing.md`.

use serde_json::json;

use super::super::leaf::{Count, Text, Version};
use super::super::read::{List, Map, Optional, Required, record};
use super::expected::{Expected, Given, Literal, Outcomes, Phrase, Words};
use crate::name::PluginName;

record! {
    /// Cases for `tidemill test`.
    Cases {
        /// The version of this vocabulary.
        #[schemars(example = 1)]
        #[expect(dead_code, reason = "reading it is checking it")]
        version: Required<Version>,
        /// What every clock says when a case begins, in RFC 3339.
        #[schemars(extend("default" = "2026-01-01T00:00:00Z"), example = &"2026-01-31T12:00:00Z")]
        now: Optional<Text>,
        /// The cases.
        tests: Required<List<Case, 1>>,
    }
}

record! {
    /// A case: of one plugin, or of routes and projections together.
    Case {
        /// A sentence that says what must be so. No two cases of a file have the same.
        #[schemars(example = &"a large order is a high risk")]
        name: Required<Text>,
        /// The plugin that is called, once for each event. Left out: the events go into the streams, and routes and projections do
        /// what they do until nothing is left to do, retries included.
        #[schemars(example = &"fraud-check")]
        plugin: Optional<PluginName>,
        /// The route or projection that calls the plugin, where more than one does.
        #[schemars(example = &"fraud-detection")]
        route: Optional<Text>,
        /// Which attempt each event is at.
        #[schemars(extend("default" = 1), example = 3)]
        attempt: Optional<Count<1, 1000>>,
        /// Without `plugin`: the routes and projections that run. Left out: all.
        #[schemars(example = json!(["payments"]))]
        only: Optional<List<Text, 1>>,
        /// What every clock says when the case begins, in RFC 3339. Left out: what the file says.
        #[schemars(example = &"2026-01-31T12:00:00Z")]
        now: Optional<Text>,
        /// With `plugin`: values of its `config` instead of those of runtime.yaml.
        #[schemars(example = json!({ "threshold": 500 }))]
        config: Optional<Map<Literal>>,
        /// With `plugin`: its secrets. One that is not given is the text `secret:NAME`; the real ones are never read.
        #[schemars(example = json!({ "api-key": "a key" }))]
        secrets: Optional<Map<Text>>,
        /// With `plugin`: its state before the case, by key. A value that is no JSON is `{ $text: … }` or `{ $base64: … }`.
        #[schemars(example = json!({ "large-orders": 3 }))]
        state: Optional<Map<Literal>>,
        /// Without `plugin`: the same for each plugin.
        #[schemars(example = json!({ "fraud-check": { "config": { "threshold": 500 } } }))]
        plugins: Optional<Map<Plugin>>,
        /// Documents before the case, by collection and key.
        #[schemars(example = json!({ "orders": { "o-1": { "status": "new" } } }))]
        documents: Optional<Map<Map<Literal>>>,
        /// Answers to the HTTP requests of plugins, of which none leaves. The first one that fits is given; a request without an
        /// answer is refused.
        #[schemars(example = json!([{ "request": "GET https://api.example.com/*", "body": { "rate": 1.1 } }]))]
        http: Optional<List<Answer>>,
        /// What goes in, in this order.
        events: Required<List<Event, 1>>,
        /// What must come out. Left out: `tidemill test --update` writes what does.
        expect: Optional<Expect>,
    }
}

record! {
    /// An answer to HTTP requests.
    Answer {
        /// Method and address; `*` stands for anything.
        #[schemars(example = &"GET https://api.example.com/rates/*")]
        request: Required<Text>,
        /// The status.
        #[schemars(extend("default" = 200), example = 503)]
        status: Optional<Count<100, 599>>,
        /// Headers of the answer.
        #[schemars(example = json!({ "content-type": "application/json" }))]
        headers: Optional<Map<Text>>,
        /// The body: a text as it is, anything else as JSON. Left out: an empty one.
        #[schemars(example = json!({ "rate": 1.1 }))]
        body: Optional<Literal>,
        /// So many requests get this answer, later ones the next that fits. Left out: all of them.
        #[schemars(example = 1)]
        times: Optional<Count<1, 1_000_000>>,
    }
}

record! {
    /// What a case changes of one plugin.
    Plugin {
        /// Values of its `config` instead of those of runtime.yaml.
        #[schemars(example = json!({ "threshold": 500 }))]
        config: Optional<Map<Literal>>,
        /// Its secrets.
        #[schemars(example = json!({ "api-key": "a key" }))]
        secrets: Optional<Map<Text>>,
        /// Its state before the case, by key.
        #[schemars(example = json!({ "large-orders": 3 }))]
        state: Optional<Map<Literal>>,
    }
}

record! {
    /// Something that goes in: one of `event`, `payload` and `file`.
    Event {
        /// The subject that it is published to. With `plugin` it may be left out: one that the route reads.
        #[schemars(example = &"orders.created")]
        subject: Optional<Text>,
        /// A CloudEvent. `specversion`, `id` (`event-1`, `event-2`, …) and `source` (`/test`) may be left out.
        #[schemars(example = json!({ "type": "OrderCreated", "data": { "total": 2000 } }))]
        event: Optional<Literal>,
        /// Any text, also what is no event.
        #[schemars(example = &"no event at all")]
        payload: Optional<Text>,
        /// Headers of the payload.
        #[schemars(example = json!({ "ce-id": "1" }))]
        headers: Optional<Map<Text>>,
        /// A file beside this one: a CloudEvent, or lines as `tidemill emit` takes them.
        #[schemars(example = &"orders.jsonl")]
        file: Optional<Text>,
        /// One line of the file. Left out: all of them.
        #[schemars(example = 3)]
        line: Optional<Count<1, { u64::MAX }>>,
    }
}

record! {
    /// What must come out. A value is equal to what is written; an object may have more members. Where that is too little or
    /// too much: `{ $exactly: VALUE }`, `{ $contains: TEXT }`, `$any`, `$absent`.
    Expect {
        /// With `plugin`: how each call ends, one word for all events or a list with one for each: `done`, `skipped` (by the
        /// filter) or the code of a reason; with the error's text or a part of it `{ rejected: "add up to 9.00" }`; with the
        /// delay that the plugin asks for `{ retry-requested: "busy", after: 5s }`. Left out: `done`.
        #[schemars(example = &"done", example = json!({ "rejected": "the total is negative" }))]
        outcome: Optional<Outcomes>,
        /// Every event that is emitted: with `plugin` in this order, else in any. Left out: not looked at.
        emits: Optional<List<Emit>>,
        /// Every HTTP request that is granted, answered or not: with `plugin` in this order, else in any. Left out: not looked at.
        requests: Optional<List<Request>>,
        /// The state afterwards: with `plugin` by key, else by plugin and key. Keys that are not named are not looked at.
        #[schemars(example = json!({ "large-orders": 4 }))]
        state: Optional<Expected>,
        /// Documents afterwards, by collection and key. Those that are not named are not looked at.
        #[schemars(example = json!({ "orders": { "o-1": { "status": "paid" } } }))]
        documents: Optional<Expected>,
        /// With `plugin`: texts that are in lines of its log, in this order.
        #[schemars(example = json!(["a large order"]))]
        log: Optional<List<Phrase, 1>>,
        /// Without `plugin`: every dead letter, in any order. Left out: there must be none.
        dead_letters: Optional<List<DeadLetter>>,
        /// Without `plugin`: what routes and projections have counted, by name, as in the summary of `tidemill run --until-idle`.
        #[schemars(example = json!({ "payments": { "done": 1, "retried": 2 } }))]
        routes: Optional<Expected>,
    }
}

record! {
    /// An event that is emitted. What is left out is not looked at.
    Emit {
        /// The route whose plugin emits it.
        #[schemars(example = &"payments")]
        route: Optional<Given>,
        /// The subject that it is emitted to.
        #[schemars(example = &"payments.captured")]
        to: Optional<Given>,
        /// Its type.
        #[schemars(example = &"PaymentCaptured")]
        r#type: Optional<Given>,
        /// The CloudEvents attribute `subject`.
        #[schemars(example = &"o-1")]
        subject: Optional<Given>,
        /// Its data.
        #[schemars(example = json!({ "amount": 30.3 }))]
        data: Optional<Given>,
        /// Data that is no text, in Base64.
        #[schemars(example = &"AAE=")]
        data_base64: Optional<Given>,
        /// Its extension attributes.
        #[schemars(example = json!({ "causationid": "event-1" }))]
        extensions: Optional<Given>,
        /// Its id. It is made from route, stream, sequence and number of the emit, so it is the same each time.
        #[schemars(example = &"8e7b2a54-2f9c-5a67-9f3a-0d1c1f0f6c7e")]
        id: Optional<Given>,
        /// When it was emitted.
        #[schemars(example = &"2026-01-01T00:00:00Z")]
        time: Optional<Given>,
        /// Its content type.
        #[schemars(example = &"application/json")]
        datacontenttype: Optional<Given>,
        /// Its schema.
        #[schemars(example = &"https://shop.example/schemas/PaymentCaptured/1")]
        dataschema: Optional<Given>,
    }
}

record! {
    /// An HTTP request. What is left out is not looked at.
    Request {
        /// Method and address.
        #[schemars(example = &"POST https://api.example.com/charges")]
        request: Optional<Given>,
        /// The body: JSON as what it holds, anything else as text.
        #[schemars(example = json!({ "amount": 30.3 }))]
        body: Optional<Given>,
    }
}

record! {
    /// An event that was given up. What is left out is not looked at.
    DeadLetter {
        /// The route or projection that gave up.
        #[schemars(example = &"payments")]
        route: Optional<Given>,
        /// The code of the reason.
        #[schemars(example = &"trap")]
        reason: Optional<Words>,
        /// A part of the error's text.
        #[schemars(example = &"order o-1 is poison")]
        error: Optional<Phrase>,
        /// All attempts, the first included.
        #[schemars(example = 5)]
        attempts: Optional<Given>,
        /// `attempts` or `age`: which limit ended the retries.
        #[schemars(example = &"attempts")]
        exhausted_by: Optional<Given>,
        /// The event's id.
        #[schemars(example = &"event-1")]
        event: Optional<Given>,
        /// The stream that holds the event.
        #[schemars(example = &"ORDERS")]
        stream: Optional<Given>,
    }
}
