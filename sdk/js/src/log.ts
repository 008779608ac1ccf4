/**
 * Lines for the host's log: a sentence, then fields.
 *
 * The host adds plugin, route and event id. Unlike an effect a line is written whether the call succeeds or not, and the last lines
 * of a failed call go into its dead letter. `console` writes there, too.
 *
 * @example
 * log.warn("an item is out of stock", { order: "o-1", warehouse: "north" });
 *
 * @module
 */

import * as host from "#imports";
import type { Attribute } from "tidemill:plugin/types@0.2.0";

import { display } from "./text.ts";

/** How much a line matters. */
export type Level = "trace" | "debug" | "info" | "warn" | "error";

/** Names and values that stand behind the sentence. What is no text is written as JSON. */
export type Fields = Record<string, unknown>;

/** Writes a line for whoever follows a single step. */
export function trace(message: string, fields?: Fields): void {
  write("trace", message, fields);
}

/** Writes a line for whoever looks for a mistake. */
export function debug(message: string, fields?: Fields): void {
  write("debug", message, fields);
}

/** Writes a line about what happens. */
export function info(message: string, fields?: Fields): void {
  write("info", message, fields);
}

/** Writes a line about what is not as it should be. */
export function warn(message: string, fields?: Fields): void {
  write("warn", message, fields);
}

/** Writes a line about what a person must look after. */
export function error(message: string, fields?: Fields): void {
  write("error", message, fields);
}

/** Writes a line at a level. */
export function write(level: Level, message: string, fields?: Fields): void {
  const attributes: Attribute[] = [];
  for (const name in fields) attributes.push({ name: name.toWellFormed(), value: display(fields[name]).toWellFormed() });
  host.log(level, display(message).toWellFormed(), attributes);
}
