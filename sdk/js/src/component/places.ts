/**
 * Where a stack's frames are in the files that the author wrote. The engine knows one file, the bundle; the build puts a table of
 * places behind it.
 *
 * @module
 */

/** What `build/places.js` writes. */
export interface Places {
  files: string[];
  /**
   * Four numbers a place, in the order of the bundle: the line and column where it begins there, the number of its file, and its line.
   * Lines that follow each other in both need no place of their own.
   */
  places: number[];
}

declare global {
  var __tidemillPlaces: Places | undefined;
}

/** As QuickJS and SpiderMonkey write a frame: `    at name (file:1:2)`, `name@file:1:2`. */
const FRAME = /^(?:\s*at )?(.*?)(?: \(|@)?[^\s(@]*:(\d+):(\d+)\)?$/;

/** How the SDK's own files begin. Their frames say nothing to an author. */
export const OURS = "@tidemill/sdk/";

/** The frames of a stack in the author's files, innermost first. */
export function frames(stack: string): string[] {
  return framesIn(globalThis.__tidemillPlaces, stack);
}

export function framesIn(table: Places | undefined, stack: string): string[] {
  const found: string[] = [];
  for (const line of stack.split("\n")) {
    const [, name, lineNumber, column] = FRAME.exec(line) ?? [];
    const place = lineNumber === undefined ? undefined : locate(table, Number(lineNumber), Number(column));
    if (place === undefined) {
      if (line.trim() !== "") found.push(line.trim());
    } else if (!place.startsWith(OURS)) {
      found.push(name === "" || name === "<anonymous>" ? `at ${place}` : `at ${name} (${place})`);
    }
  }
  return found;
}

function locate({ files, places }: Places = { files: [], places: [] }, line: number, column: number): string | undefined {
  let found: [line: number, file: number, fileLine: number] | undefined;
  for (let at = 0; at < places.length; at += 4) {
    const [beginLine, beginColumn, file, fileLine] = places.slice(at, at + 4) as [number, number, number, number];
    if (beginLine > line || (beginLine === line && beginColumn > column)) break;
    found = [beginLine, file, fileLine];
  }
  if (found === undefined) return undefined;
  const [beginLine, file, fileLine] = found;
  return `${files[file]}:${fileLine + line - beginLine}`;
}
