/**
 * The seam of a component: what it imports, between the SDK's values and the engine's. Its counterpart for tests is
 * `testing/stand-in.ts`; both have the same functions.
 *
 * What a plugin does not use of this file is left out of its bundle, and what the bundle does not import is left out of the component's
 * world. So a plugin without state imports no state, and needs no grant for it.
 *
 * @module
 */

import * as configWit from "tidemill:plugin/config@0.2.0";
import * as emitWit from "tidemill:plugin/emit@0.2.0";
import * as hostWit from "tidemill:plugin/host@0.2.0";
import * as logWit from "tidemill:plugin/log@0.2.0";
import * as readModelWit from "tidemill:plugin/read-model@0.2.0";
import * as stateWit from "tidemill:plugin/state@0.2.0";
import type { Attribute } from "tidemill:plugin/types@0.2.0";

import { EmitError } from "../emit.ts";
import type { Level } from "../log.ts";
import { ReadModelError } from "../read-model.ts";
import { StateError } from "../state.ts";

export { frames } from "./places.ts";

/** Used again for each emit: to make a record of seven fields anew costs more than the engine takes to read it. */
const outgoing: emitWit.Outgoing = {
  to: "",
  kind: "",
  subject: undefined,
  datacontenttype: undefined,
  dataschema: undefined,
  extensions: [],
  data: new Uint8Array(),
};

export function emit(
  to: string,
  kind: string,
  subject: string | undefined,
  datacontenttype: string | undefined,
  dataschema: string | undefined,
  extensions: Attribute[],
  data: Uint8Array,
): void {
  outgoing.to = to;
  outgoing.kind = kind;
  outgoing.subject = subject;
  outgoing.datacontenttype = datacontenttype;
  outgoing.dataschema = dataschema;
  outgoing.extensions = extensions;
  outgoing.data = data;
  try {
    emitWit.emit(outgoing);
  } catch (error) {
    const { tag, val } = variant<emitWit.EmitError>(error);
    throw new EmitError(tag, val);
  }
}

export function stateGet(key: string): Uint8Array | undefined {
  try {
    return stateWit.get(key) ?? undefined;
  } catch (error) {
    throw stateError(error);
  }
}

export function statePut(key: string, value: Uint8Array): void {
  try {
    stateWit.put(key, value);
  } catch (error) {
    throw stateError(error);
  }
}

export function stateDelete(key: string): void {
  try {
    stateWit.delete(key);
  } catch (error) {
    throw stateError(error);
  }
}

export function stateCompareAndSet(key: string, expected: Uint8Array | undefined, value: Uint8Array | undefined): boolean {
  try {
    return stateWit.compareAndSet(key, expected, value);
  } catch (error) {
    throw stateError(error);
  }
}

export function stateList(prefix: string, after: string | undefined, limit: number): string[] {
  try {
    return stateWit.list(prefix, after, limit);
  } catch (error) {
    throw stateError(error);
  }
}

export function documentGet(collection: string, key: string): Uint8Array | undefined {
  try {
    return readModelWit.get(collection, key) ?? undefined;
  } catch (error) {
    throw readModelError(error);
  }
}

export function documentPut(collection: string, key: string, body: Uint8Array): void {
  try {
    readModelWit.put(collection, key, body);
  } catch (error) {
    throw readModelError(error);
  }
}

export function documentDelete(collection: string, key: string): void {
  try {
    readModelWit.delete(collection, key);
  } catch (error) {
    throw readModelError(error);
  }
}

export function documentFind(
  collection: string,
  field: string,
  value: Uint8Array,
  after: string | undefined,
  limit: number,
): readModelWit.Document[] {
  try {
    return readModelWit.find(collection, field, value, after, limit);
  } catch (error) {
    throw readModelError(error);
  }
}

export function configGet(key: string): string | undefined {
  return configWit.get(key) ?? undefined;
}

export function configKeys(): string[] {
  return configWit.keys();
}

export function log(level: Level, message: string, fields: Attribute[]): void {
  logWit.write(level, message, fields);
}

export function now(): string {
  return hostWit.now();
}

export function stableId(name: string): string {
  return hostWit.stableId(name);
}

export function timeLeft(): number {
  return hostWit.timeLeft();
}

export function random(length: number): Uint8Array {
  return hostWit.random(length);
}

function stateError(error: unknown): StateError {
  const { tag, val } = variant<stateWit.StateError>(error);
  return new StateError(tag, tag === "unavailable" ? `the state is unavailable: ${val}` : val);
}

function readModelError(error: unknown): ReadModelError {
  const { tag, val } = variant<readModelWit.ReadModelError>(error);
  return new ReadModelError(tag, val);
}

/** What a function of the contract failed with. An error that does not carry it is the engine's own. */
function variant<T>(error: unknown): T {
  if (error instanceof Error && "payload" in error) return error.payload as T;
  throw error;
}
