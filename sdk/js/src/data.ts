/**
 * JSON to bytes and back, and validators from elsewhere.
 *
 * @module
 */

import { Reject } from "./failure.ts";
import { describe, display } from "./text.ts";
import { decodeStrictly, encode } from "./utf8.ts";

/**
 * What zod, valibot, arktype and others have in common: https://standardschema.dev. Only what is used of it is asked for.
 */
export interface Schema<Output = unknown> {
  readonly "~standard": {
    readonly validate: (value: unknown) => Validated<Output> | Promise<Validated<Output>>;
    readonly types?: { readonly output: Output } | undefined;
  };
}

/** A value that fits, or what does not. */
export type Validated<Output> = { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly Issue[] };

/** What does not fit, and where. */
export interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

export function parse(bytes: Uint8Array): unknown {
  return JSON.parse(decodeStrictly(bytes));
}

/** Nothing, which JSON has no word for, is written as `null`, as it is inside of a list. */
export function stringify(value: unknown): Uint8Array {
  const json = JSON.stringify(value ?? null);
  if (json === undefined) throw new TypeError(`${display(value)} has no JSON`);
  return encode(json);
}

/** Reads JSON that came from outside, or rejects what `what` names. */
export function read(bytes: Uint8Array, what: string): unknown {
  try {
    return parse(bytes);
  } catch (error) {
    throw new Reject(`${what} is not JSON: ${error instanceof Error ? error.message : describe(error)}`);
  }
}

/** What the schema makes of a value, or a rejection with the places that do not fit. */
export function fit<T>(schema: Schema<T>, value: unknown, what: string): T {
  const validated = schema["~standard"].validate(value);
  if (validated instanceof Promise) {
    throw new TypeError("the schema validates asynchronously, but a plugin's calls are synchronous");
  }
  if (validated.issues === undefined) return validated.value;
  throw new Reject(`${what} does not fit: ${validated.issues.map(problem).join("; ")}`);
}

function problem({ message, path = [] }: Issue): string {
  const steps = path.map((step) => String(typeof step === "object" ? step.key : step));
  // A JSON pointer, as RFC 6901 has it.
  const pointer = steps.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  return pointer === "" ? message : `\`${pointer}\`: ${message}`;
}
