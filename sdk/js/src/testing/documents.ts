/**
 * The read model of a test: collections in a map, with the host's rules about them.
 *
 * @module
 */

import { Buffer } from "node:buffer";

import type { Document } from "tidemill:plugin/read-model@0.2.0";

import { ReadModelError } from "../read-model.ts";
import { describe } from "../text.ts";
import { decodeStrictly, encode } from "../utf8.ts";
import { inByteOrder, problemOfKey } from "./rules.ts";
import { currentCall, type Call, type Collection } from "./world.ts";

/** The largest document that a default host accepts, and the longest text that it indexes. */
const MAX_DOCUMENT_BYTES = 512 * 1024;
const MAX_INDEXED_BYTES = 512;

/** Most documents that one `find` gives. */
const MAX_FOUND = 1000;

export function documentGet(collection: string, key: string): Uint8Array | undefined {
  checkDocumentKey(key);
  const document = open(currentCall(), collection).documents.get(key);
  return document === undefined ? undefined : encode(document);
}

export function documentPut(collection: string, key: string, body: Uint8Array): void {
  write(collection, ({ documents, indexes }) => {
    checkDocumentKey(key);
    documents.set(key, checkDocument(collection, body, indexes));
  });
}

export function documentDelete(collection: string, key: string): void {
  write(collection, ({ documents }) => {
    checkDocumentKey(key);
    documents.delete(key);
  });
}

export function documentFind(
  collection: string,
  field: string,
  value: Uint8Array,
  after: string | undefined,
  limit: number,
): Document[] {
  const { indexes, documents } = open(currentCall(), collection);
  if (!indexes.includes(field)) {
    const line = `projections[].collections.${collection}.indexes: [${field}]`;
    throw new ReadModelError(
      "no-index",
      `the field \`${field}\` of the collection \`${collection}\` is not indexed; \`${line}\` in runtime.yaml would index it`,
    );
  }
  const wanted: unknown = JSON.parse(decodeStrictly(value));
  const found = [...documents].filter(([, document]) => isSame(at(JSON.parse(document), field), wanted));
  const later = found.filter(([key]) => after === undefined || inByteOrder(key, after) > 0);
  later.sort(([one], [other]) => inByteOrder(one, other));
  return later.slice(0, Math.min(limit, MAX_FOUND)).map(([key, document]) => ({ key, body: encode(document) }));
}

// --- the host's rules ------------------------------------------------------------------------------------------------

function open({ world }: Call, name: string): Collection {
  if (world.role !== "projection") throw new Error("only a projection has a read model; the host refuses a handler that uses it");
  if (world.unavailable) throw new ReadModelError("unavailable", "the read model is unavailable: the harness says so");
  const collection = world.collections.get(name);
  if (collection) return collection;
  const line = `projections[].collections.${name}`;
  throw new ReadModelError("no-collection", `the collection \`${name}\` is not declared; \`${line}\` in runtime.yaml would declare it`);
}

/** Writes, or remembers the refusal: it fails the call, whatever the plugin makes of it. */
function write(name: string, change: (collection: Collection) => void): void {
  const call = currentCall();
  try {
    const collection = open(call, name);
    if (!call.origin) throw new ReadModelError("read-only", "a query reads documents and writes none");
    change(collection);
  } catch (error) {
    if (error instanceof ReadModelError && error.code !== "unavailable") call.refused ??= error;
    throw error;
  }
}

function checkDocumentKey(key: string): void {
  const problem = problemOfKey(key, "a document's key");
  if (problem !== undefined) throw new ReadModelError("invalid", problem);
}

function checkDocument(collection: string, body: Uint8Array, indexes: readonly string[]): string {
  if (body.length > MAX_DOCUMENT_BYTES) {
    throw new ReadModelError("limit", `the limit \`document\` of ${MAX_DOCUMENT_BYTES} is used up`);
  }
  const refused = (why: string) => new ReadModelError("invalid", `a document of the collection \`${collection}\` is refused: ${why}`);
  const json = decodeStrictly(body);
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch (error) {
    throw refused(`expected a JSON object, found no JSON: ${describe(error)}`);
  }
  if (!isObject(document)) throw refused(`expected a JSON object, found ${json}`);
  for (const field of indexes) {
    const value = at(document, field);
    const length = typeof value === "string" ? Buffer.byteLength(value) : 0;
    if (length > MAX_INDEXED_BYTES) {
      throw refused(`its indexed field \`${field}\` holds a text of ${length} bytes, at most ${MAX_INDEXED_BYTES} can be indexed`);
    }
  }
  return json;
}

/** The value at a path like `address.city`. */
function at(document: unknown, path: string): unknown {
  let value = document;
  for (const name of path.split(".")) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether an index takes two values for the same: all lists and objects are alike to it. */
function isSame(one: unknown, other: unknown): boolean {
  const areNested = [one, other].every((value) => typeof value === "object" && value !== null);
  return areNested || one === other;
}
