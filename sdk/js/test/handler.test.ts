// The harness keeps the host's promises, and so do the functions that a handler calls through it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigError, EmitError, StateError, config, emit, handler, host, log, reject, retry, state } from "@tidemill/sdk";
import { Harness, type HarnessOptions, type Run } from "@tidemill/sdk/testing";

/** A handler whose behaviour the event names, so that each test reads as one table of cause and effect. */
const puppet = handler<{ wish: string }>((event, context) => {
  switch (event.data.wish) {
    case "count": {
      const count = state.update<number>("count", (count = 0) => count + 1);
      emit({ to: "counts.made", kind: "Counted", data: count });
      return;
    }
    case "count, then reject":
      state.put("count", "99");
      emit({ to: "counts.made", kind: "Counted", data: 99 });
      log.info(`about to reject ${event.id}`, { route: context.route, tries: context.attempt });
      reject("changed my mind");
    case "retry later":
      retry("not yet", { after: 7000 });
    case "throw":
      throw new TypeError(`on ${event.kind}`);
    case "ignore a refusal":
      try {
        emit({ to: "secrets.told", kind: "Told" });
      } catch {
        return;
      }
    case "id":
      state.put("id", host.stableId("thing"));
      if (!context.isLastAttempt) retry("once more");
      return;
    case "set once":
      emit({ to: "sets.made", kind: "Set", data: state.compareAndSet("once", undefined, "1") });
      return;
    default:
      reject(`no such wish: ${event.data.wish}`);
  }
});

function wish(wish: string) {
  return { kind: "Wish", data: { wish } };
}

/** Runs `body` where a handler's body runs. */
function inside<T>(body: () => T, options: HarnessOptions = {}): T {
  let answer: { value: T } | undefined;
  const run = new Harness(handler(() => void (answer = { value: body() })), options).handle({ kind: "Any" });
  run.assertDone();
  return answer!.value;
}

test("effects of a done call stay", () => {
  const harness = new Harness(puppet, { state: { count: 4 } });
  const run = harness.handle(wish("count"));
  run.assertDone();
  assert.equal(run.emitted("Counted").data, 5);
  assert.equal(harness.handle(wish("count")).stateJson("count"), 6);
});

test("effects of a failed call vanish and its log stays", () => {
  const run = new Harness(puppet, { state: { count: 4 }, route: "demo" }).handle(wish("count, then reject"));
  run.assertRejected("changed my mind");
  run.assertNoEmits();
  assert.equal(run.stateJson("count"), 4);
  assert.deepEqual(run.logs, [{ level: "info", message: "about to reject event-1", fields: { route: "demo", tries: "1" } }]);
  assert(run.logged("info", "about to"));
});

test("retries and other errors are told apart", () => {
  const asked = new Harness(puppet).handle(wish("retry later"));
  assert.deepEqual(asked.outcome, { type: "retry", reason: "not yet", after: 7000 });
  const thrown = new Harness(puppet).handle(wish("throw"));
  thrown.assertThrew("TypeError: on Wish");
  assert.match(thrown.logs[0]!.message, /^the handler threw TypeError: on Wish at handler \(test\/handler\.test\.ts:\d+:\d+\)$/);
});

test("a failed assertion says what was found, and shows where the plugin threw it", () => {
  const run = new Harness(puppet).handle(wish("throw"));
  assert.throws(() => run.assertDone(), (error: Error) => {
    assert.equal(error.message, "expected the call to be done, but it ended as threw, error: TypeError: on Wish");
    return error.cause instanceof TypeError;
  });
  assert.throws(() => run.emitted("Counted"), /expected one emit of type Counted among \[\], but it ended as threw/);
});

test("data that is no JSON rejects the event", () => {
  const run = new Harness(puppet).handle({ kind: "Wish", bytes: '{"wish":' });
  run.assertRejected("the event's data is not JSON: ");
  new Harness(puppet).handle({ kind: "Wish", bytes: Uint8Array.of(0x22, 0xff, 0x22) }).assertRejected("not JSON");
});

test("a refused emit fails the call even if it is ignored", () => {
  const harness = new Harness(puppet, { emits: ["counts.*"] });
  const run = harness.handle(wish("ignore a refusal"));
  run.assertRefused('`emits: ["secrets.told"]`');
  assert(run.outcome.type === "refused" && run.outcome.error instanceof EmitError && run.outcome.error.code === "not-granted");
  harness.handle(wish("count")).assertDone();
});

/** What the host makes of the route `orders`, the first event of the stream `ORDERS` and the name `thing`. */
const STABLE_ID = "51f562cd-b7d0-5c7f-9a3a-46b7a480d658";

test("a stable id is the host's, the same for a redelivery and another for the next event", () => {
  const idAfter = (run: Run) => Buffer.from(run.state.get("id")!).toString();
  const harness = new Harness(puppet, { route: "orders", stream: "ORDERS" });
  harness.handle(wish("id")).assertRetry("once more");
  assert.equal(idAfter(harness.handle(wish("id"), { attempt: 5 })), STABLE_ID);
  assert.notEqual(idAfter(harness.handle(wish("id"), { attempt: 5 })), STABLE_ID);
});

test("compare and set sets what is absent once", () => {
  const harness = new Harness(puppet);
  assert.equal(harness.handle(wish("set once")).emitted("Set").data, true);
  assert.equal(harness.handle(wish("set once")).emitted("Set").data, false);
});

test("settings are read as texts, numbers, booleans or JSON", () => {
  const given = { text: "5", name: "strict", list: [1, 2], number: 1.5, flag: true };
  inside(() => {
    assert.equal(config.get("text"), "5");
    assert.equal(config.number("text"), 5);
    assert.equal(config.get("name", "lax"), "strict");
    assert.equal(config.require("name"), "strict");
    assert.deepEqual(config.json("list"), [1, 2]);
    assert.equal(config.number("number", 3), 1.5);
    assert.equal(config.boolean("flag"), true);
    assert.equal(config.number("nothing"), undefined);
    assert.deepEqual([config.number("nothing", 3), config.boolean("nothing", false), config.json("nothing", [])], [3, false, []]);
    assert.deepEqual(config.keys(), ["flag", "list", "name", "number", "text"]);
  }, { config: given });
});

test("a setting that does not fit is an error without its value", () => {
  const isUnfit = (error: unknown) => error instanceof ConfigError && error.code === "unfit" && !error.message.includes("s3cret");
  inside(() => {
    for (const ask of [config.number, config.boolean, config.json]) assert.throws(() => ask("token"), isUnfit);
    assert.throws(() => config.number("empty"), isUnfit);
    assert.throws(() => config.require("nothing"), /`plugins.settings.<plugin>.config.nothing` in runtime.yaml sets it/);
  }, { config: { token: "s3cret", empty: " " } });
});

test("keys are listed in order and page by page", () => {
  inside(() => {
    for (let n = 0; n < 2500; n++) state.put(`many/${String(n).padStart(4, "0")}`, "x");
    state.put("other", "x");
    const keys = [...state.keys("many/")];
    assert.deepEqual([keys.length, keys[0], keys[2499]], [2500, "many/0000", "many/2499"]);
    assert.deepEqual(state.list("many/", { after: "many/0002", limit: 2 }), ["many/0003", "many/0004"]);
    state.delete("many/0003");
    assert.equal(state.get("many/0003"), undefined);
    // In the order of bytes the first comes last, in that of UTF-16 units it would not.
    for (const key of ["\u{1f600}", "\uffee"]) state.put(`order/${key}`, "x");
    assert.deepEqual(state.list("order/"), ["order/\uffee", "order/\u{1f600}"]);
  });
});

test("values are bytes, texts or JSON", () => {
  inside(() => {
    state.put("bytes", Uint8Array.of(1, 2));
    assert.deepEqual(state.get("bytes"), Uint8Array.of(1, 2));
    state.put("text", "ä");
    assert.deepEqual(state.get("text"), Uint8Array.of(0xc3, 0xa4));
    assert.equal(state.insertJson("json", { a: "ä" }), true);
    assert.equal(state.insertJson("json", {}), false);
    assert.deepEqual(state.getJson("json"), { a: "ä" });
    assert.equal(state.compareAndSet("json", '{"a":"ä"}', undefined), true);
    assert.equal(state.getJson("json"), undefined);
    state.putJson("nothing", undefined);
    assert.equal(state.getJson("nothing"), null);
  });
});

test("the time that is left is the time limit unless the test says otherwise", () => {
  const told: number[] = [];
  const asking = handler((_, context) => {
    told.push(context.timeLimit, host.timeLeft());
  });
  new Harness(asking).handle({ kind: "Any" });
  new Harness(asking, { timeLimit: 700 }).handle({ kind: "Any" });
  new Harness(asking).handle({ kind: "Any" }, { timeLimit: 800 });
  new Harness(asking, { timeLeft: 250 }).handle({ kind: "Any" });
  assert.deepEqual(told, [5000, 5000, 700, 700, 800, 800, 5000, 250]);
});

test("state errors say what is wrong", () => {
  const code = (code: StateError["code"]) => (error: unknown) => error instanceof StateError && error.code === code;
  inside(() => {
    assert.throws(() => state.put("", "x"), code("invalid-key"));
    assert.throws(() => state.get("a\nb"), /`a\\nb` is not a state key/);
    assert.throws(() => state.put("big", new Uint8Array(600_000)), code("limit"));
    assert.throws(() => state.getJson("count"), /^StateError: the state's value of `count`: SyntaxError: /);
    assert.throws(() => state.putJson("count", 1n), code("json"));
    assert.throws(() => state.get(7 as unknown as string), /a state key is a text, found 7/);
  }, { state: { count: Buffer.from("not JSON") } });
  new Harness(puppet, { stateUnavailable: true }).handle(wish("count")).assertThrew("the state is unavailable");
});

test("an emit has what was asked for", () => {
  const run = new Harness(
    handler((event) => {
      emit({ to: "a.b", kind: "A", subject: "s", dataschema: "urn:a:1", extensions: { lines: "2" }, data: { name: "ä" } });
      emit({ to: "a.b", kind: "B", datacontenttype: "text/plain", bytes: event.text });
      emit({ to: "a.b", kind: "C" });
    }),
  ).handle({ kind: "Any", bytes: "grüß dich", datacontenttype: "text/plain" });
  const { to, subject, dataschema, datacontenttype, extensions, data } = run.emitted("A");
  assert.deepEqual({ to, subject, dataschema, extensions, data }, {
    to: "a.b", subject: "s", dataschema: "urn:a:1", extensions: { lines: "2" }, data: { name: "ä" },
  });
  assert.equal(datacontenttype, undefined);
  assert.equal(Buffer.from(run.emitted("B").bytes).toString(), "grüß dich");
  assert.equal(run.emitted("C").bytes.length, 0);
});

test("an emit that cannot be is refused or an error", () => {
  const refused = (outgoing: Parameters<typeof emit>[0]) => new Harness(handler(() => emit(outgoing))).handle({ kind: "Any" });
  refused({ to: "x", kind: "" }).assertRefused("no type");
  refused({ to: "x.*", kind: "X" }).assertRefused("`x.*` is not a subject");
  refused({ to: "$JS.API", kind: "X" }).assertRefused("belongs to the server");
  refused({ to: "x", kind: "X", data: 1n }).assertThrew("the emit's data cannot be written as JSON: TypeError");
  refused({ to: "x", kind: "X", data: () => 1 }).assertThrew("has no JSON");
  refused({ to: undefined as unknown as string, kind: "X" }).assertThrew("the emit's `to` is a text, found undefined");
});

test("patterns admit subjects as NATS has it", () => {
  const admitted = (pattern: string, to: string) =>
    new Harness(handler(() => emit({ to, kind: "X" })), { emits: [pattern] }).handle({ kind: "Any" }).outcome.type === "done";
  assert(admitted("a.*", "a.b") && admitted("a.>", "a.b.c") && admitted("*.b", "a.b") && admitted("a", "a"));
  assert(!admitted("a.*", "a") && !admitted("a.*", "a.b.c") && !admitted("a.>", "a") && !admitted("a", "b"));
});

test("a reason has its causes, and a verdict may be returned or thrown by hand", () => {
  const outcomeOf = (run: () => unknown) => new Harness(handler(run as () => void)).handle({ kind: "Any" }).outcome;
  const cause = new Error("no answer", { cause: new RangeError("7") });
  assert.deepEqual(outcomeOf(() => reject("the ledger", { cause })), {
    type: "rejected",
    reason: "the ledger: no answer: RangeError: 7",
  });
  assert.deepEqual(outcomeOf(() => catching(() => retry("later", { after: 1.5 }))), { type: "retry", reason: "later", after: 2 });
  assert.deepEqual(outcomeOf(() => retry("for ever", { after: Infinity })), { type: "retry", reason: "for ever", after: 2 ** 31 - 1 });
  assert.equal(outcomeOf(() => retry("x", { after: NaN })).type, "threw");
});

/** What was thrown, as a value. */
function catching(run: () => never): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
}

test("what is thrown need not be an error, and an error's cause is logged, too", () => {
  const run = new Harness(
    handler(() => {
      throw "boom";
    }),
  ).handle({ kind: "Any" });
  run.assertThrew("boom");
  assert.equal(run.logs[0]!.message, "the handler threw boom, which is no Error and so has no stack");
  const caused = new Harness(
    handler(() => {
      throw new Error("outer", { cause: new Error("inner") });
    }),
  ).handle({ kind: "Any" });
  assert.match(caused.logs[0]!.message, /^the handler threw Error: outer at .*; caused by Error: inner at handler \(/);
});

test("a handler that returns a promise fails, because nobody would wait", () => {
  const wait = (async () => state.put("x", "1")) as unknown as () => void;
  const run = new Harness(handler(wait)).handle({ kind: "Any" });
  run.assertRetry("the plugin's function is asynchronous");
  assert.equal(run.state.size, 0);
  const fail = (() => Promise.reject(new Error("unheard"))) as unknown as () => void;
  new Harness(handler(fail)).handle({ kind: "Any" }).assertRetry("asynchronous");
});

test("texts with half a surrogate pair reach the host as UTF-8 can say them", () => {
  const run = new Harness(
    handler(() => {
      emit({ to: "x", kind: "X\ud800", subject: "\udc00" });
      log.info("a\ud800", { "b\ud800": "c\ud800" });
    }),
  ).handle({ kind: "Any" });
  assert.deepEqual([run.emits[0]!.kind, run.emits[0]!.subject], ["X\ufffd", "\ufffd"]);
  assert.deepEqual(run.logs[0], { level: "info", message: "a\ufffd", fields: { "b\ufffd": "c\ufffd" } });
});

test("log fields are written as texts", () => {
  const run = new Harness(
    handler(() => log.warn("w", { text: "t", number: 1, list: [1], nothing: undefined, error: new RangeError("r"), big: 1n })),
  ).handle({ kind: "Any" });
  assert.deepEqual(run.logs[0]!.fields, {
    text: "t", number: "1", list: "[1]", nothing: "undefined", error: "RangeError: r", big: "1",
  });
});

test("an event is as a test gives it", () => {
  const given = { kind: "Any", id: "e-7", source: "/s", time: "2026-02-03T04:05:06Z", subject: "s", dataschema: "d" };
  new Harness(
    handler((event) => {
      const { kind, id, source, time, subject, dataschema, extensions } = event;
      assert.deepEqual({ kind, id, source, time, subject, dataschema }, given);
      assert.equal(extensions["correlationid"], "c-1");
      assert.equal(extensions["traceparent"], undefined);
    }),
  ).handle({ ...given, extensions: { correlationid: "c-1" } }).assertDone();
});

test("time and randomness are the same in every run of a test", () => {
  assert.equal(inside(() => host.now(), { now: "2026-05-05T05:05:05.005Z" }), "2026-05-05T05:05:05.005Z");
  assert.deepEqual(inside(() => host.random(4)), inside(() => host.random(4)));
  assert.equal(inside(() => host.random(4096).length), 4096);
  for (const length of [-1, 1.5, 4097]) assert.throws(() => host.random(length), /random bytes/);
});

test("outside of a harness there is no host", () => {
  assert.throws(() => host.now(), /only inside of a harness/);
});

test("a harness takes what its maker made, and nothing else", () => {
  assert.throws(() => new Harness({} as never), /expected what `handler` made/);
  assert.throws(() => handler(undefined as never), /`handler` takes a function/);
});
