/**
 * `TextEncoder` and `TextDecoder` for UTF-8, as the Encoding Standard has them, without streaming.
 *
 * @module
 */

import { decode, decodeStrictly, encode } from "../utf8.ts";

export class TextEncoder {
  readonly encoding = "utf-8";

  encode(text = ""): Uint8Array {
    return encode(String(text));
  }

  encodeInto(text: string, destination: Uint8Array): { read: number; written: number } {
    let read = 0;
    let written = 0;
    for (const character of text) {
      const bytes = encode(character);
      if (written + bytes.length > destination.length) break;
      destination.set(bytes, written);
      read += character.length;
      written += bytes.length;
    }
    return { read, written };
  }
}

export class TextDecoder {
  readonly encoding = "utf-8";
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!["utf-8", "utf8", "unicode-1-1-utf-8"].includes(String(label).trim().toLowerCase())) {
      throw new RangeError(`a plugin decodes UTF-8 only, not ${label}`);
    }
    this.fatal = fatal;
    this.ignoreBOM = ignoreBOM;
  }

  decode(input: ArrayBufferLike | ArrayBufferView = new Uint8Array(), { stream = false } = {}): string {
    if (stream) throw new TypeError("a plugin decodes a text as a whole, not in pieces");
    const bytes = ArrayBuffer.isView(input)
      ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
      : new Uint8Array(input);
    const text = this.fatal ? decodeStrictly(bytes) : decode(bytes);
    return !this.ignoreBOM && text.startsWith("\ufeff") ? text.slice(1) : text;
  }
}
