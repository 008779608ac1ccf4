/**
 * Texts to bytes and back.
 *
 * Where the engine has no `TextEncoder` (QuickJS), a loop over the characters would cost more than the rest of a call: 50 ns for
 * each. So the work is left to functions that the engine has in C: `btoa` and `atob`, which read a text as bytes, and base64 on
 * `Uint8Array`. They know only U+0000 to U+00FF, so whether a text is ASCII, as JSON mostly is, is looked at four bytes at a
 * time; what is not goes a longer way, in C as well.
 *
 * @module
 */

export interface Utf8 {
  /** Reads bytes as UTF-8; what is no UTF-8 becomes U+FFFD. */
  decode(bytes: Uint8Array): string;
  /** Reads bytes as UTF-8, or throws a `TypeError`. */
  decodeStrictly(bytes: Uint8Array): string;
  /** Writes a text as UTF-8; half a surrogate pair becomes U+FFFD. */
  encode(text: string): Uint8Array;
}

export const { decode, decodeStrictly, encode } = "TextEncoder" in globalThis ? engines() : base64();

function engines(): Utf8 {
  const encoder = new TextEncoder();
  const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
  const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  return {
    decode: (bytes) => lossy.decode(bytes),
    decodeStrictly: (bytes) => strict.decode(bytes),
    encode: (text) => encoder.encode(text),
  };
}

/** By way of base64. */
export function base64(): Utf8 {
  return { decode: decodeWithBase64, decodeStrictly: decodeStrictlyWithBase64, encode: encodeWithBase64 };
}

function decodeWithBase64(bytes: Uint8Array): string {
  try {
    return decodeStrictlyWithBase64(bytes);
  } catch {
    return decodeByHand(bytes);
  }
}

function decodeStrictlyWithBase64(bytes: Uint8Array): string {
  const characters = atob(bytes.toBase64());
  if (isAscii(bytes)) return characters;
  try {
    // One character for each byte, which is how `escape` and `unescape` think of texts.
    return decodeURIComponent(escape(characters));
  } catch {
    throw new TypeError("the bytes are not UTF-8");
  }
}

function encodeWithBase64(text: string): Uint8Array {
  try {
    const bytes = Uint8Array.fromBase64(btoa(text));
    if (isAscii(bytes)) return bytes;
  } catch {
    // A character above U+00FF.
  }
  return Uint8Array.fromBase64(btoa(unescape(encodeURIComponent(text.toWellFormed()))));
}

/** The highest bit of each of four bytes. */
const HIGH_BITS = 0x80808080 | 0;

/** So few bytes that a view of four at a time costs more than it saves. */
const FEW = 12;

/**
 * To an interpreter a step of a loop costs as much as its body, and `length` is a call: so eight words at a time, and each number asked
 * for once.
 */
function isAscii(bytes: Uint8Array): boolean {
  const length = bytes.length;
  let seen = 0;
  let at = 0;
  if (length > FEW && bytes.byteOffset % 4 === 0) {
    const end = length >> 2;
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, end);
    let word = 0;
    for (const last = end - 7; word < last; word += 8) {
      seen |=
        words[word]! | words[word + 1]! | words[word + 2]! | words[word + 3]! |
        words[word + 4]! | words[word + 5]! | words[word + 6]! | words[word + 7]!;
    }
    while (word < end) seen |= words[word++]!;
    at = end * 4;
  }
  while (at < length) seen |= bytes[at++]!;
  return (seen & HIGH_BITS) === 0;
}

/** What the standard calls a decoder: each longest piece that could begin a character, and does not become one, is one U+FFFD. */
function decodeByHand(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = characterAt(bytes, at);
    const piece = bytes.slice(at, at + Math.abs(length));
    text += length > 0 ? decodeStrictlyWithBase64(piece) : "\ufffd";
    at += piece.length;
  }
  return text;
}

/** How many bytes the character has that begins here; negative where it is cut short, or none. */
function characterAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length === 0) return -1;
  // The second byte decides about overlong forms, surrogates and what is above U+10FFFF.
  let low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  let high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  for (let next = 1; next < length; next++) {
    const byte = bytes[at + next];
    if (byte === undefined || byte < low || byte > high) return -next;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}
