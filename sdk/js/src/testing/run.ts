/**
 * What came of one call, and assertions that say what was found instead.
 *
 * @module
 */

import assert from "node:assert/strict";

import type { Outgoing } from "tidemill:plugin/emit@0.2.0";

import { parse } from "../data.ts";
import type { EmitError } from "../emit.ts";
import type { Level } from "../log.ts";
import type { ReadModelError } from "../read-model.ts";
import { describe, display } from "../text.ts";
import { inByteOrder } from "./rules.ts";
import type { Call, World } from "./world.ts";

/**
 * How a call ended. `threw` is a retry, too: what was thrown was neither a `Retry` nor a `Reject`. `refused`: an emit or a document's
 * write was refused, so the call failed, whatever the plugin made of it.
 */
export type Outcome =
  | { type: "done" }
  | { type: "retry"; reason: string; after: number | undefined }
  | { type: "rejected"; reason: string }
  | { type: "threw"; error: unknown }
  | { type: "refused"; error: EmitError | ReadModelError };

/** A line of the log. */
export interface LogLine {
  level: Level;
  message: string;
  fields: Record<string, string>;
}

/** What came of one call. */
export class Run {
  readonly outcome: Outcome;
  /** What is published. Empty unless the call is done. */
  readonly emits: readonly Emitted[];
  /** The whole state after the call. As before it unless the call is done. */
  readonly state: ReadonlyMap<string, Uint8Array>;
  /** All documents after the call, by collection and key. As before it unless the call is done. */
  readonly documents: ReadonlyMap<string, ReadonlyMap<string, any>>;
  readonly logs: readonly LogLine[];

  /** @internal */
  constructor(outcome: Outcome, call: Call, world: World) {
    this.outcome = outcome;
    this.emits = outcome.type === "done" ? call.emits.map((outgoing) => new Emitted(outgoing)) : [];
    this.state = new Map(world.state);
    this.documents = new Map([...world.collections].map(([name, { documents }]) => [name, parsed(documents)]));
    this.logs = call.logs;
  }

  assertDone(): void {
    if (this.outcome.type !== "done") this.#fail("the call to be done");
  }

  /** The call asked for a retry, with a reason that contains `part`. */
  assertRetry(part: string): void {
    if (this.outcome.type !== "retry" || !this.outcome.reason.includes(part)) this.#fail(`a retry because of "${part}"`);
  }

  /** The call rejected the event, with a reason that contains `part`. */
  assertRejected(part: string): void {
    if (this.outcome.type !== "rejected" || !this.outcome.reason.includes(part)) this.#fail(`a rejection because of "${part}"`);
  }

  /** The call threw what is neither a retry nor a rejection, with a message that contains `part`. To the host that is a retry. */
  assertThrew(part: string): void {
    if (this.outcome.type !== "threw" || !describe(this.outcome.error).includes(part)) this.#fail(`it to throw "${part}"`);
  }

  /** An emit or a document's write was refused, with a message that contains `part`. */
  assertRefused(part: string): void {
    if (this.outcome.type !== "refused" || !this.outcome.error.message.includes(part)) this.#fail(`a refusal because of "${part}"`);
  }

  assertNoEmits(): void {
    assert.deepEqual(this.#kinds(), [], "expected no emits");
  }

  /** The only emit of a type. */
  emitted(kind: string): Emitted {
    const [found, ...more] = this.emits.filter((emit) => emit.kind === kind);
    if (!found || more.length > 0) this.#fail(`one emit of type ${kind} among ${JSON.stringify(this.#kinds())}`);
    return found;
  }

  /** A state value after the call, read as JSON. */
  stateJson<T = any>(key: string): T | undefined {
    const value = this.state.get(key);
    return value === undefined ? undefined : (parse(value) as T);
  }

  /** A document after the call. */
  document<T = any>(collection: string, key: string): T | undefined {
    return this.#collection(collection).get(key);
  }

  /** The collection has exactly these keys, given in byte order. */
  assertKeys(collection: string, expected: string[]): void {
    assert.deepEqual([...this.#collection(collection).keys()].sort(inByteOrder), expected);
  }

  /** Whether a line of this level contains `part`. */
  logged(level: Level, part: string): boolean {
    return this.logs.some((line) => line.level === level && line.message.includes(part));
  }

  #collection(name: string): ReadonlyMap<string, any> {
    const collection = this.documents.get(name);
    assert(collection, `there is no collection "${name}": \`collections: { ${name}: [] }\` of the harness makes one`);
    return collection;
  }

  #kinds(): string[] {
    return this.emits.map((emit) => emit.kind);
  }

  #fail(expected: string): never {
    const { type, ...rest } = this.outcome;
    const found = Object.entries(rest).map(([name, value]) => `, ${name}: ${display(value)}`);
    const failure = new assert.AssertionError({ message: `expected ${expected}, but it ended as ${type}${found.join("")}` });
    // So that a failed test shows where the plugin threw it.
    if ("error" in this.outcome) failure.cause = this.outcome.error;
    throw failure;
  }
}

/** An event that was published. */
export class Emitted {
  /** The NATS subject. */
  readonly to: string;
  readonly kind: string;
  readonly subject: string | undefined;
  readonly datacontenttype: string | undefined;
  readonly dataschema: string | undefined;
  readonly extensions: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;

  /** @internal */
  constructor(outgoing: Outgoing) {
    this.to = outgoing.to;
    this.kind = outgoing.kind;
    this.subject = outgoing.subject;
    this.datacontenttype = outgoing.datacontenttype;
    this.dataschema = outgoing.dataschema;
    this.extensions = Object.fromEntries(outgoing.extensions.map(({ name, value }) => [name, value]));
    this.bytes = outgoing.data;
  }

  /** The data, read as JSON. */
  get data(): any {
    return parse(this.bytes);
  }
}

function parsed(documents: ReadonlyMap<string, string>): Map<string, any> {
  return new Map([...documents].map(([key, body]) => [key, JSON.parse(body)]));
}
