/**
 * Randomness from the host, drawn a little in advance. The engine's own starts from what was frozen when the component was built, so
 * it would be the same in every instance.
 *
 * @module
 */

import * as host from "#imports";

import { calls } from "./phase.ts";

/** How many bytes are drawn at once: 32 numbers. */
const DRAWN = 256;

let drawn = new Uint8Array();
let used = 0;
/** The call that drew them. A call takes nothing that another one left: what comes of an event depends on its own randomness. */
let drawnIn = 0;

export function fillRandom(bytes: Uint8Array): void {
  if (calls === 0) throw new Error("there is no randomness while the plugin is built: it can be had inside of the handler");
  for (let at = 0; at < bytes.length; at++) {
    if (used === drawn.length || drawnIn !== calls) {
      drawn = new Uint8Array(host.random(DRAWN));
      drawnIn = calls;
      used = 0;
    }
    bytes[at] = drawn[used++]!;
  }
}

const buildTimeNumber = Math.random;
const words = new Uint32Array(2);
const wordBytes = new Uint8Array(words.buffer);

/** A number from 0 to below 1, with 53 random bits, as the engine's own has. */
export function randomNumber(): number {
  // What a module draws while the component is built, the seed of a hash for example, is frozen in any case.
  if (calls === 0) return buildTimeNumber();
  fillRandom(wordBytes);
  const [high, low] = words as unknown as [number, number];
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}
