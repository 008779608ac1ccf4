// Where the engine has no `TextEncoder`, texts go by way of base64. Node has one, so the two can be compared here.

import assert from "node:assert/strict";
import { test } from "node:test";

import { base64 } from "../lib/utf8.js";

// As QuickJS has them. Node has had them since 25.
Uint8Array.prototype.toBase64 ??= function (this: Uint8Array) {
  return Buffer.from(this).toString("base64");
};
Uint8Array.fromBase64 ??= (text: string) => new Uint8Array(Buffer.from(text, "base64"));

const { decode, decodeStrictly, encode } = base64();
const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** A generator that gives the same numbers in each run. */
let seed = 7;
function below(limit: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * limit);
}

function check(bytes: Uint8Array): void {
  assert.equal(decode(bytes), lossy.decode(bytes), `${bytes}`);
  let expected: string | undefined;
  try {
    expected = strict.decode(bytes);
  } catch {
    assert.throws(() => decodeStrictly(bytes), TypeError, `${bytes}`);
    return;
  }
  assert.equal(decodeStrictly(bytes), expected);
}

test("texts of every length and kind become the bytes that they should, and come back", () => {
  const alphabets = ["a", "aé", "a\x80\xff", "aж", "a€", "a😀", "a\ud800", "a\udc00", "\0\ufeff"];
  for (const alphabet of alphabets) {
    for (let length = 0; length < 70; length++) {
      const text = Array.from({ length }, () => alphabet[below(alphabet.length)]).join("");
      assert.deepEqual(encode(text), new TextEncoder().encode(text), JSON.stringify(text));
      check(new TextEncoder().encode(text));
    }
  }
});

test("bytes that are no UTF-8 are read as the standard says", () => {
  const edges = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff];
  for (const one of edges) for (const two of edges) for (const three of edges) check(Uint8Array.of(one, two, three));
  for (let n = 0; n < 3000; n++) check(Uint8Array.from({ length: below(40) }, () => edges[below(edges.length)]!));
});

test("a part of a buffer is read wherever it begins", () => {
  const buffer = new TextEncoder().encode("01234567890123456789ä0123456789");
  for (let begin = 0; begin < 8; begin++) {
    for (let end = begin; end < buffer.length; end++) check(buffer.subarray(begin, end));
  }
});
