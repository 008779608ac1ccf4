/**
 * Keyed state. Each plugin has a namespace of its own, shared by all its routes and instances.
 *
 * A call sees its own writes; nobody else sees them before the call has succeeded and is committed, together with its emits. If
 * somebody else changes a key between this call's reading and its commit, the host runs the call again on the new value. So read,
 * compute, write is safe as it stands, and {@link update} needs no loop.
 *
 * @example
 * const seen = state.update<number>("orders/seen", (seen = 0) => seen + 1);
 *
 * @module
 */

import * as host from "#imports";

import { parse, stringify } from "./data.ts";
import { describe, text } from "./text.ts";
import { encode } from "./utf8.ts";

/** The most keys that one {@link list} gives. */
export const MAX_LIST = 1000;

/** Why a state function did not do what was asked. */
export class StateError extends Error {
  static {
    this.prototype.name = "StateError";
  }

  /**
   * `invalid-key`: keys have 1 to 256 bytes and no control characters; `limit`: the message names the limit that is used up;
   * `unavailable`: the store cannot be reached, and the host runs the call again without counting an attempt, whatever it returns;
   * `json`: the value is no JSON, or has none.
   */
  readonly code: "invalid-key" | "limit" | "unavailable" | "json";

  constructor(code: StateError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** A key's value, if it has one. */
export function get(key: string): Uint8Array | undefined {
  return host.stateGet(text(key, "a state key"));
}

/** Sets a key's value. */
export function put(key: string, value: Uint8Array | string): void {
  host.statePut(text(key, "a state key"), toBytes(value));
}

/** Removes a key. Removing what is not there is no error. */
function remove(key: string): void {
  host.stateDelete(text(key, "a state key"));
}

export { remove as delete };

/**
 * Sets (or, with no `value`, removes) a key if its value is `expected` (`undefined`: the key is absent). Says whether it did.
 */
export function compareAndSet(
  key: string,
  expected: Uint8Array | string | undefined,
  value: Uint8Array | string | undefined,
): boolean {
  const bytes = (it: Uint8Array | string | undefined) => (it === undefined ? undefined : toBytes(it));
  return host.stateCompareAndSet(text(key, "a state key"), bytes(expected), bytes(value));
}

/**
 * Keys that begin with `prefix`, in byte order.
 *
 * @param options `after`: only those behind this key; `limit`: how many, at most {@link MAX_LIST}
 */
export function list(prefix: string, { after, limit = MAX_LIST }: { after?: string | undefined; limit?: number } = {}): string[] {
  return host.stateList(
    text(prefix, "a state key's prefix"),
    after === undefined ? undefined : text(after, "a state key"),
    Math.max(0, Math.min(Math.trunc(limit), MAX_LIST)),
  );
}

/** All keys that begin with `prefix`, in byte order. They are fetched a page at a time, so an early end costs nothing. */
export function* keys(prefix: string): Generator<string, void, undefined> {
  for (let after: string | undefined; ; ) {
    const page = list(prefix, { after });
    yield* page;
    if (page.length < MAX_LIST) return;
    after = page.at(-1);
  }
}

/** A key's value, read as JSON. Its type is the author's promise. */
export function getJson<T = unknown>(key: string): T | undefined {
  const value = get(key);
  if (value === undefined) return undefined;
  try {
    return parse(value) as T;
  } catch (error) {
    throw unfit(key, error);
  }
}

/** Sets a key's value, written as JSON. */
export function putJson(key: string, value: unknown): void {
  put(key, toJson(key, value));
}

/** Sets a key that has no value yet. Says whether it did; a key that has one keeps it. */
export function insertJson(key: string, value: unknown): boolean {
  return compareAndSet(key, undefined, toJson(key, value));
}

/**
 * Reads a key as JSON, changes it and writes it back. Gives the new value.
 *
 * @example
 * const seen = state.update<number>("orders/seen", (seen = 0) => seen + 1);
 */
export function update<T>(key: string, change: (value: T | undefined) => T): T {
  const changed = change(getJson<T>(key));
  putJson(key, changed);
  return changed;
}

function toBytes(value: Uint8Array | string): Uint8Array {
  return typeof value === "string" ? encode(value) : value;
}

function toJson(key: string, value: unknown): Uint8Array {
  try {
    return stringify(value);
  } catch (error) {
    throw unfit(key, error);
  }
}

function unfit(key: string, error: unknown): StateError {
  return new StateError("json", `the state's value of \`${key}\`: ${describe(error)}`);
}
