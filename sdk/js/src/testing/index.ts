/**
 * Handlers and projections in Node's own test runner, or any other, without Wasm and without a server.
 *
 * The harnesses keep the host's promises: the emits, state writes and documents of a failed call vanish, a call sees its own writes, and
 * a refused emit or document fails the call even if the plugin ignores it. They do not check schemas, limits of time and memory, or
 * conflicts; those belong to the host.
 *
 * @example
 * const run = new Harness(handler).handle({ kind: "CustomerRegistered", data: { name: "Ada" } });
 * assert.equal(run.emitted("MailSent").data.text, "Hello Ada");
 *
 * @module
 */

export type { TestContext, TestEvent } from "./given.ts";
export { Harness, type HarnessOptions } from "./harness.ts";
export { ProjectionHarness, type ProjectionHarnessOptions } from "./projection-harness.ts";
export { Emitted, Run, type LogLine, type Outcome } from "./run.ts";
