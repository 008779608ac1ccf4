/**
 * The seam of a test: the host's imports, answered by the harness whose call is under way. Its counterpart in a component is
 * `component/imports.ts`; both have the same functions.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

import type { Attribute } from "tidemill:plugin/types@0.2.0";

import { EmitError } from "../emit.ts";
import type { Level } from "../log.ts";
import { MAX_LIST, StateError } from "../state.ts";
import { inByteOrder, problemOfKey } from "./rules.ts";
import { currentCall, type Call } from "./world.ts";

export { documentDelete, documentFind, documentGet, documentPut } from "./documents.ts";
export { frames } from "./stack.ts";

/** The largest value that a default host accepts. */
const MAX_VALUE_BYTES = 512 * 1024;

/** The host's namespace of stable ids. */
const STABLE_ID_NAMESPACE = Buffer.from("6f0c1b6e52d44d0f9a3b7e15c0d284a1", "hex");

export function emit(
  to: string,
  kind: string,
  subject: string | undefined,
  datacontenttype: string | undefined,
  dataschema: string | undefined,
  extensions: Attribute[],
  data: Uint8Array,
): void {
  const call = currentCall();
  if (call.world.role !== "handler") throw new Error("a projection emits nothing; the host refuses one that would");
  const refusal = refusalOf(to, kind, call.world.grants);
  if (refusal) {
    call.refused ??= refusal;
    throw refusal;
  }
  call.emits.push({ to, kind, subject, datacontenttype, dataschema, extensions, data: data.slice() });
}

export function stateGet(key: string): Uint8Array | undefined {
  return stateFor(key).get(key)?.slice();
}

export function statePut(key: string, value: Uint8Array): void {
  checkValue(value);
  stateFor(key).set(key, value.slice());
}

export function stateDelete(key: string): void {
  stateFor(key).delete(key);
}

export function stateCompareAndSet(key: string, expected: Uint8Array | undefined, value: Uint8Array | undefined): boolean {
  if (value) checkValue(value);
  const state = stateFor(key);
  const found = state.get(key);
  const matches = found && expected ? Buffer.compare(found, expected) === 0 : found === expected;
  if (matches && value) state.set(key, value.slice());
  if (matches && !value) state.delete(key);
  return matches;
}

export function stateList(prefix: string, after: string | undefined, limit: number): string[] {
  const call = currentCall();
  checkReachable(call);
  const keys = [...call.world.state.keys()].filter((key) => key.startsWith(prefix)).sort(inByteOrder);
  return keys.filter((key) => after === undefined || inByteOrder(key, after) > 0).slice(0, Math.min(limit, MAX_LIST));
}

export function configGet(key: string): string | undefined {
  return currentCall().world.config.get(key);
}

export function configKeys(): string[] {
  return [...currentCall().world.config.keys()].sort(inByteOrder);
}

export function log(level: Level, message: string, fields: Attribute[]): void {
  currentCall().logs.push({ level, message, fields: Object.fromEntries(fields.map(({ name, value }) => [name, value])) });
}

export function now(): string {
  return currentCall().world.now;
}

/** As the host makes them, so that an id of a test is that of production, given the same route, stream and sequence. */
export function stableId(name: string): string {
  const { origin } = currentCall();
  if (!origin) throw new Error("a query has no event that a stable id could be made from");
  const text = [origin.route, origin.stream, origin.sequence, name].join("\0");
  const hash = createHash("sha1").update(STABLE_ID_NAMESPACE).update(text).digest().subarray(0, 16);
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return hash.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Time stands still in a harness. */
export function timeLeft(): number {
  return currentCall().timeLeft;
}

/** The same bytes in every run of a test. */
export function random(length: number): Uint8Array {
  const call = currentCall();
  const draw = () => createHash("sha1").update(`random ${call.drawn++}`).digest()[0]!;
  return Uint8Array.from({ length }, draw);
}

// --- the host's rules ------------------------------------------------------------------------------------------------

function refusalOf(to: string, kind: string, grants: readonly string[] | undefined): EmitError | undefined {
  if (to.split(".").some((token) => token === "" || /[*> ]/.test(token))) {
    return new EmitError("invalid", `\`${to}\` is not a subject`);
  }
  if (kind === "") return new EmitError("invalid", `the emit to \`${to}\` has no type: \`kind\` sets it`);
  if (to.startsWith("$") || to.startsWith("_INBOX")) return new EmitError("not-granted", `\`${to}\` belongs to the server`);
  if (!grants || grants.some((pattern) => admits(pattern, to))) return undefined;
  const line = `emits: ["${to}"]`;
  return new EmitError("not-granted", `emitting to \`${to}\` is not granted; the route's \`${line}\` in runtime.yaml would allow it`);
}

/** Whether a NATS subject pattern admits a subject. */
function admits(pattern: string, subject: string): boolean {
  const tokens = subject.split(".");
  for (const wanted of pattern.split(".")) {
    const token = tokens.shift();
    if (token === undefined) return false;
    if (wanted === ">") return true;
    if (wanted !== "*" && wanted !== token) return false;
  }
  return tokens.length === 0;
}

function stateFor(key: string): Map<string, Uint8Array> {
  const problem = problemOfKey(key, "a state key");
  if (problem !== undefined) throw new StateError("invalid-key", problem);
  const call = currentCall();
  checkReachable(call);
  return call.world.state;
}

function checkReachable({ world }: Call): void {
  if (world.role !== "handler") throw new Error("a projection has no state, only documents; the host refuses one that uses it");
  if (world.unavailable) throw new StateError("unavailable", "the state is unavailable: the harness says so");
}

function checkValue(value: Uint8Array): void {
  if (value.length <= MAX_VALUE_BYTES) return;
  throw new StateError("limit", `the limit \`state_value\` of ${MAX_VALUE_BYTES} is used up`);
}
