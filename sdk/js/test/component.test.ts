// What is built does what the harness says that it does.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";

import { Host, context, event, json, load, type Instance } from "./component.ts";
import { build, project } from "./project.ts";

const PLUGINS = new URL("plugins/", import.meta.url);

let puppet: (host: Host) => Promise<Instance>;
let view: (host: Host) => Promise<Instance>;

before(async (t) => {
  puppet = await component(t as TestContext, "puppet.ts", "handler");
  view = await component(t as TestContext, "view.ts", "projection-with-queries");
});

async function component(t: TestContext, main: string, world: string) {
  const sources = [main, "deep.ts"].map((name) => [name, readFileSync(new URL(name, PLUGINS), "utf8")]);
  const folder = project(t, { ...Object.fromEntries(sources), "package.json": JSON.stringify({ type: "module", main }) });
  const { out, stderr, code } = await build(folder, "--world", world);
  assert.equal(code, 0, stderr);
  return load(out, join(folder, "module"));
}

/** What a call threw: the failure that the host is told. */
function failure(run: () => void): any {
  try {
    run();
  } catch (error) {
    return (error as { payload?: unknown }).payload ?? error;
  }
  assert.fail("expected a failure");
}

async function puppets() {
  const host = new Host();
  const { eventHandler } = await puppet(host);
  const handle = (kind: string, data: unknown = {}, attempt = 1) => eventHandler.handle(event(kind, data), context({ attempt }));
  const answer = (kind: string, data: unknown = {}, attempt = 1) => {
    handle(kind, data, attempt);
    return json(host.emits.pop()!.data);
  };
  return { host, handle, answer };
}

test("events go in, emits come out, whatever they are written in", async () => {
  const { answer } = await puppets();
  for (const data of [{ text: "plain" }, { text: "grüße, жук, € und 😀" }, { long: "x".repeat(100_000) }, { latin: "é" }]) {
    assert.deepEqual(answer("echo", data), data);
  }
});

test("verdicts and other errors are failures, the latter with a stack in the log that names the author's files", async () => {
  const { host, handle, answer } = await puppets();
  assert.deepEqual(failure(() => handle("reject")), { tag: "reject", val: "no: reasons" });
  assert.deepEqual(failure(() => handle("retry")), { tag: "retry", val: { delay: 11, reason: "again" } });
  assert.deepEqual(answer("retry", {}, 2), { attempt: 2 });
  assert.deepEqual(failure(() => handle("nothing such")), { tag: "reject", val: "no such wish: nothing such" });
  assert.equal(host.logs.length, 0);

  const { tag, val } = failure(() => handle("throw"));
  assert.deepEqual([tag, val.delay], ["retry", undefined]);
  assert.match(val.reason, /^TypeError: cannot read property 'bottom' of undefined$/);
  const calls = "at deep (deep.ts:10)" + " at deep (deep.ts:8)".repeat(3) + " at throw (puppet.ts:22) at handler (puppet.ts:14)";
  assert.deepEqual(host.logs, [{ level: "error", message: `the handler threw ${val.reason} ${calls}`, fields: [] }]);
  failure(() => handle("caused"));
  assert.match(host.logs[1]!.message, /^the handler threw Error: outer at caused .*; caused by RangeError: inner at caused /);
});

test("a promise is a failure, because nobody would wait for it", async () => {
  const { handle } = await puppets();
  assert.match(failure(() => handle("async")).val.reason, /asynchronous/);
});

test("what the host refuses is an error with a code", async () => {
  const { handle, answer } = await puppets();
  assert.equal(failure(() => handle("refused")).val.reason, "EmitError: emitting to `forbidden` is not granted");
  assert.deepEqual(answer("ignored"), ["not-granted", "emitting to `forbidden` is not granted"]);
  assert.deepEqual(answer("unavailable"), ["unavailable", "the state is unavailable: no answer"]);
});

test("state, settings and the host can be asked", async () => {
  const { host, answer } = await puppets();
  assert.deepEqual(answer("state"), { set: [true, false], count: 42, a: "none", keys: ["b", "n"] });
  host.config.set("limit", "7.5");
  assert.deepEqual(answer("config"), [7.5, "none", ["limit"]]);
  assert.deepEqual(answer("host"), ["2026-01-01T00:00:00.000Z", "id of x", 4990, 3]);
});

test("the console writes to the log", async () => {
  const { host, handle } = await puppets();
  handle("console");
  const written = host.logs.map(({ level, message, fields }) => [level, message, ...fields.map(({ name, value }) => `${name}=${value}`)]);
  assert.deepEqual(written, [
    ["info", 'a has 7 of {"b":1}% [2] RangeError: r undefined ä'],
    ["warn", '{"w":1}'],
    ["error", "e"],
    ["error", "Assertion failed: sums"],
    ["debug", "d"],
    ["info", "field", "number=1", "text=ü"],
  ]);
});

test("texts are encoded and decoded", async () => {
  const { answer } = await puppets();
  assert.deepEqual(answer("texts", { text: "a😀ü" }), [7, "a😀ü", "A\ufffd"]);
});

test("chance is the host's, and no call's is another's", async () => {
  const { host, answer } = await puppets();
  const first = answer("random");
  host.drawn = 77;
  assert(first.numbers.every((number: number) => number >= 0 && number < 1) && first.numbers[0] !== first.numbers[1]);
  assert.match(first.uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(first.bytes.length, 4);
  const second = answer("random");
  assert.notDeepEqual(second.numbers, first.numbers);
  assert.equal(second.frozen, first.frozen, "what a module drew while it was built is the same for ever");
  host.drawn = 0;
  assert.deepEqual(answer("random"), first);
});

test("texts that are no UTF-8 are repaired before the engine meets them", async () => {
  const { host, handle } = await puppets();
  handle("surrogates");
  assert.deepEqual([host.emits[0]!.kind, json(host.emits[0]!.data)], ["X\ufffd", "\udc00"]);
});

test("an instance is of use for many calls", async () => {
  const { host, answer } = await puppets();
  for (let n = 0; n < 2000; n++) assert.deepEqual(answer("echo", { n: String(n) }), { n: String(n) });
  assert.equal(host.emits.length, 0);
});

test("a projection folds, and answers questions", async () => {
  const host = new Host();
  const { eventProjection, queries } = await view(host);
  const apply = (kind: string, id: string) => eventProjection.apply(event("Added", { id, kind }), context());
  for (let n = 0; n < 120; n++) apply(n % 10 === 0 ? "ten" : "other", `t-${String(n).padStart(3, "0")}`);
  eventProjection.apply(event("Removed", { id: "t-000" }), context());

  const ask = (name: string, params: unknown = {}) => json(queries.query(name, new TextEncoder().encode(JSON.stringify(params))));
  assert.equal(ask("count", { kind: "ten" }), 11);
  assert.equal(ask("count", { kind: "other" }), 108);
  assert.deepEqual(ask("get", { id: "t-010" }), { id: "t-010", kind: "ten" });
  assert.equal(ask("get", { id: "t-000" }), "none");
  assert.deepEqual(ask("missing"), ["no-collection", "there is no `missing`"]);
  assert.deepEqual(failure(() => ask("sum")), { tag: "reject", val: "there is no query `sum`" });
  assert.equal(failure(() => queries.query("count", Uint8Array.of(0x7b))).tag, "reject");
});
