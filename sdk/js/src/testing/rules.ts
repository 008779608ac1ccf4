/**
 * Rules of the host that state and documents share.
 *
 * @module
 */

import { Buffer } from "node:buffer";

const MAX_KEY_BYTES = 256;

/** What is wrong with a key, if anything. */
export function problemOfKey(key: string, what: string): string | undefined {
  if (key !== "" && Buffer.byteLength(key) <= MAX_KEY_BYTES && !/\p{Cc}/u.test(key)) return undefined;
  const shown = JSON.stringify(key).slice(1, -1);
  return `\`${shown}\` is not ${what}: expected 1 to 256 bytes without control characters`;
}

/** The order of keys: that of their bytes, which is not that of a text's UTF-16 units. */
export function inByteOrder(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}
