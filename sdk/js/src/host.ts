/**
 * Time, identity and randomness from the host.
 *
 * `Date`, `Math.random` and `crypto` work as well: the first asks the host's clock, the others {@link random}.
 *
 * @module
 */

import * as host from "#imports";

import { text } from "./text.ts";

/** The most bytes that one {@link random} gives. */
export const MAX_RANDOM = 4096;

/** The current time, RFC 3339 in UTC with milliseconds. */
export function now(): string {
  return host.now();
}

/**
 * An id that is the same each time this event is handled by this route: a UUIDv5 of route, stream, sequence and `name`. Use it where
 * a repeated call must make the same thing again.
 */
export function stableId(name: string): string {
  return host.stableId(text(name, "a stable id's name"));
}

/**
 * How many milliseconds are left of the call's time limit; 0 while the plugin starts.
 *
 * It is meant for the timeouts of what may be slow. A request over HTTP that may take no longer than this ends in an error that the
 * plugin can tell, and not in an interruption.
 */
export function timeLeft(): number {
  return host.timeLeft();
}

/** Random bytes, at most {@link MAX_RANDOM}; cryptographically strong. */
export function random(length: number): Uint8Array {
  if (!Number.isInteger(length) || length < 0 || length > MAX_RANDOM) {
    throw new RangeError(`0 to ${MAX_RANDOM} random bytes can be had at once, not ${String(length)}`);
  }
  return host.random(length);
}
