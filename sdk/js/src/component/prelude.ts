/**
 * What a plugin's author and the libraries that it uses expect to be there, and the engine does not have: `console`, `TextEncoder`,
 * `TextDecoder`, a seeded `Math.random`, and of `crypto` what needs no algorithms. It is imported before the plugin.
 *
 * @module
 */

import { console } from "./console.ts";
import { fillRandom, randomNumber } from "./random.ts";
import { TextDecoder, TextEncoder } from "./text-coding.ts";

const globals = globalThis as unknown as Record<string, unknown>;

globals["console"] = console;
globals["TextEncoder"] ??= TextEncoder;
globals["TextDecoder"] ??= TextDecoder;
globals["crypto"] ??= { getRandomValues, randomUUID };
Math.random = randomNumber;

function getRandomValues<T extends ArrayBufferView>(array: T): T {
  fillRandom(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return array;
}

function randomUUID(): string {
  const bytes = getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
