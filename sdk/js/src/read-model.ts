/**
 * The documents of a projection: collections of JSON objects, found by key or by an indexed field.
 *
 * Collections and their indexes are declared in `runtime.yaml`, under the projection. An event sees its own writes and those of all
 * events before it. A refused write fails the event, even if the projection ignores it; a refused read is its own to judge.
 *
 * @module
 */

import * as host from "#imports";

import { parse, stringify } from "./data.ts";
import { describe, text } from "./text.ts";

/** How many documents {@link find} asks the host for at once. */
const PAGE = 100;

/** Why a document function did not do what was asked. */
export class ReadModelError extends Error {
  static {
    this.prototype.name = "ReadModelError";
  }

  /**
   * `no-collection`, `no-index`: the message names the line of `runtime.yaml` that would declare it; `invalid`: the document is no
   * object, or a key, a field or a value breaks a rule; `read-only`: queries read and do not write; `limit`: the message names the
   * limit that is used up; `unavailable`: the store cannot be reached, and the host folds the event again without counting an attempt,
   * whatever it returns; `json`: the document is no JSON, or has none.
   */
  readonly code: "no-collection" | "no-index" | "invalid" | "read-only" | "limit" | "unavailable" | "json";

  constructor(code: ReadModelError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** A document that was found. */
export interface Document<T> {
  key: string;
  body: T;
}

/** A document, if there is one under the key. Its type is the author's promise. */
export function get<T = unknown>(collection: string, key: string): T | undefined {
  const body = host.documentGet(name(collection), text(key, "a document's key"));
  return body === undefined ? undefined : fromJson<T>(collection, key, body);
}

/** Sets a document. */
export function put(collection: string, key: string, document: object): void {
  host.documentPut(name(collection), text(key, "a document's key"), toJson(collection, key, document));
}

/** Removes a document. Removing what is not there is no error. */
function remove(collection: string, key: string): void {
  host.documentDelete(name(collection), text(key, "a document's key"));
}

export { remove as delete };

/**
 * Reads a document, changes it and writes it back. Gives the new one.
 *
 * @example
 * readModel.update<Customer>("customers", id, (customer = { orders: 0 }) => ({ ...customer, orders: customer.orders + 1 }));
 */
export function update<T extends object>(collection: string, key: string, change: (document: T | undefined) => T): T {
  const changed = change(get<T>(collection, key));
  put(collection, key, changed);
  return changed;
}

/**
 * All documents whose indexed `field` (`status`, `address.city`) equals `value`, in the order of their keys. They are fetched a page
 * at a time, so an early end costs nothing.
 *
 * @example
 * for (const { key } of readModel.find("orders", "status", "pending")) log.info("an order is pending", { order: key });
 */
export function* find<T = unknown>(collection: string, field: string, value: unknown): Generator<Document<T>, void, undefined> {
  const wanted = toJson(collection, field, value);
  for (let after: string | undefined; ; ) {
    const page = host.documentFind(name(collection), text(field, "a field"), wanted, after, PAGE);
    for (const { key, body } of page) yield { key, body: fromJson<T>(collection, key, body) };
    if (page.length < PAGE) return;
    after = page.at(-1)?.key;
  }
}

function name(collection: string): string {
  return text(collection, "a collection's name");
}

function fromJson<T>(collection: string, key: string, body: Uint8Array): T {
  try {
    return parse(body) as T;
  } catch (error) {
    throw unfit(collection, key, error);
  }
}

function toJson(collection: string, key: string, value: unknown): Uint8Array {
  try {
    return stringify(value);
  } catch (error) {
    throw unfit(collection, key, error);
  }
}

function unfit(collection: string, key: string, error: unknown): ReadModelError {
  return new ReadModelError("json", `the document \`${key}\` of the collection \`${collection}\`: ${describe(error)}`);
}
