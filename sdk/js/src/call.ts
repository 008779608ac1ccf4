/**
 * One call of a plugin, from the host's values to a verdict. A component and the test harness both call plugins through here, so what
 * a test sees is what the host sees.
 *
 * @module
 */

import * as host from "#imports";
import type { Context as WitContext, Event as WitEvent, Failure as WitFailure } from "tidemill:plugin/types@0.2.0";

import { Context } from "./context.ts";
import { read, stringify } from "./data.ts";
import { Event } from "./event.ts";
import { Failure, Retry, reject } from "./failure.ts";
import type { Handler } from "./handler.ts";
import type { Projection } from "./projection.ts";
import { describe, display } from "./text.ts";

/** The longest delay of a retry, 24 days: the engine passes integers of 31 bits. */
const MAX_DELAY = 2 ** 31 - 1;

const ASYNCHRONOUS =
  "the plugin's function is asynchronous, but a plugin has no event loop: what follows its first `await` would never run; " +
  "everything that a plugin may ask the host for is synchronous, so `async` and `await` can go";

/** How a call went wrong: what the host is told, and what was thrown, where that was no verdict of the plugin's. */
export interface Broken {
  failure: WitFailure;
  thrown?: unknown;
}

/** Gives a handler or a projection one event. Gives nothing when it is done. */
export function call({ role, run, schema }: Handler | Projection, event: WitEvent, context: WitContext): Broken | undefined {
  try {
    return failureIn(run(new Event(event, schema), Context.of(context)));
  } catch (error) {
    return broken(role, error);
  }
}

/** Asks a projection a question. */
export function query({ queries }: Projection, name: string, params: Uint8Array): Broken | { value: Uint8Array } {
  try {
    if (!Object.hasOwn(queries, name)) reject(`there is no query \`${name}\``);
    const value = queries[name]!(read(params, "the query's parameter object"));
    return failureIn(value) ?? { value: stringify(value) };
  } catch (error) {
    return broken("query", error);
  }
}

/** What a plugin returned that says that it failed: a verdict that it did not throw, or a promise. */
function failureIn(returned: unknown): Broken | undefined {
  if (returned instanceof Failure) return { failure: verdict(returned) };
  if (!isThenable(returned)) return undefined;
  // It may fail later, and nobody will hear of it.
  returned.then(undefined, () => {});
  return { failure: { tag: "retry", val: { reason: ASYNCHRONOUS } } };
}

function broken(what: string, error: unknown): Broken {
  if (error instanceof Failure) return { failure: verdict(error) };
  if (isOutOfMemory(error)) throw error;
  host.log("error", `the ${what} threw ${trace(error)}`.toWellFormed(), []);
  return { failure: { tag: "retry", val: { reason: describe(error).toWellFormed() } }, thrown: error };
}

function verdict(failure: Failure): WitFailure {
  const reason = failure.reason.toWellFormed();
  if (!(failure instanceof Retry)) return { tag: "reject", val: reason };
  const after = failure.after === undefined ? {} : { delay: Math.min(Math.ceil(failure.after), MAX_DELAY) };
  return { tag: "retry", val: { reason, ...after } };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/**
 * Whether the engine has no memory left. Then the instance is of no more use, and the host must know: it throws away what traps. Where
 * QuickJS has not even the memory for an error, it throws `null`.
 */
function isOutOfMemory(error: unknown): boolean {
  return error === null || (error instanceof Error && error.name === "InternalError" && error.message === "out of memory");
}

/** What was thrown, where, and what caused it, on one line, because the host's log has lines. */
function trace(error: unknown): string {
  if (!(error instanceof Error)) return `${display(error)}, which is no Error and so has no stack`;
  const frames = host.frames(error.stack ?? "").map((frame) => ` ${frame}`);
  const cause = error.cause === undefined ? "" : `; caused by ${trace(error.cause)}`;
  return `${error}${frames.join("")}${cause}`;
}
