/**
 * The plugin's part of a stack as Node writes it.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The SDK's folder, as a module's address or, where a loader translates, as a path. */
const SDK = [new URL("../", import.meta.url).href, fileURLToPath(new URL("../", import.meta.url))];

/** The frames between the harness, which called the plugin, and the SDK's functions that the plugin called, innermost first. */
export function frames(stack: string): string[] {
  const all = stack.split("\n").filter((line) => /^\s+at /.test(line));
  const isOurs = (frame: string) => SDK.some((place) => frame.includes(place));
  const called = all.slice(0, all.findLastIndex(isOurs));
  const here = join(process.cwd(), "/");
  return called.filter((frame) => !isOurs(frame)).map((frame) => frame.trim().replace(pathToFileURL(here).href, "").replace(here, ""));
}
