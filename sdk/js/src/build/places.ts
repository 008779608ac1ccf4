/**
 * From a source map to the table that a component carries, so that its stacks name the author's files.
 *
 * @module
 */

import { OURS, type Places } from "../component/places.ts";

/** What is used of a source map: https://tc39.es/ecma426. */
export interface SourceMap {
  sources: string[];
  mappings: string;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** @param nameOf what a stack calls a file of the map */
export function placesOf({ sources, mappings }: SourceMap, nameOf: (source: string) => string): Places {
  const files = sources.map(nameOf);
  const places: number[] = [];
  let file = 0;
  let fileLine = 0;
  let last: { line: number; file: number; fileLine: number } | undefined;
  mappings.split(";").forEach((segments, index) => {
    const line = index + 1;
    let column = 0;
    for (const segment of segments === "" ? [] : segments.split(",")) {
      const [columns = 0, filesOn, linesOn = 0] = numbers(segment);
      column += columns;
      if (filesOn === undefined) continue;
      file += filesOn;
      fileLine += linesOn;
      // Of the SDK it is enough to know that it is the SDK.
      const isAhead = files[file]!.startsWith(OURS) || fileLine - (last?.fileLine ?? 0) === line - (last?.line ?? 0);
      if (last?.file !== file || !isAhead) places.push(line, column + 1, file, fileLine + 1);
      last = { line, file, fileLine };
    }
  });
  return { files, places };
}

/** The numbers of a segment: base 64, lowest digits first, the lowest bit is the sign. */
function numbers(segment: string): number[] {
  const found: number[] = [];
  let value = 0;
  let shift = 0;
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    found.push(value & 1 ? -(value >> 1) : value >> 1);
    value = 0;
    shift = 0;
  }
  return found;
}
