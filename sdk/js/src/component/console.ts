/**
 * `console`, as lines of the host's log.
 *
 * @module
 */

import * as host from "#imports";

import type { Level } from "../log.ts";
import { display } from "../text.ts";
import { calls } from "./phase.ts";

type Values = unknown[];

export const console = {
  trace: (...values: Values) => write("trace", values),
  debug: (...values: Values) => write("debug", values),
  log: (...values: Values) => write("info", values),
  info: (...values: Values) => write("info", values),
  warn: (...values: Values) => write("warn", values),
  error: (...values: Values) => write("error", values),
  dir: (value: unknown) => write("info", [value]),
  assert: (condition: unknown, ...values: Values) => {
    if (!condition) write("error", ["Assertion failed:", ...values]);
  },
};

function write(level: Level, values: Values): void {
  // What a module writes while the component is built has no reader.
  if (calls > 0) host.log(level, format(values).toWellFormed(), []);
}

/** The values, one after the other; the first one may have places (`%s`) for those behind it. */
export function format([first, ...rest]: Values): string {
  if (typeof first !== "string") return [first, ...rest].map(display).join(" ");
  const text = first.replace(/%[sdifjoOc%]/g, (place) => {
    if (place === "%%") return "%";
    if (rest.length === 0) return place;
    const value = rest.shift();
    if (place === "%c") return "";
    if (place === "%d" || place === "%f") return String(Number(value));
    if (place === "%i") return String(Math.trunc(Number(value)));
    return display(value);
  });
  return [text, ...rest.map(display)].join(" ");
}
