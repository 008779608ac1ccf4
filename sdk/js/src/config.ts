/**
 * The plugin's own settings: `plugins.settings.<plugin>.config` of `runtime.yaml`, and the secrets granted to it.
 *
 * The host gives a text as it stands and anything else as JSON. What is meant, the plugin knows: `number`, `boolean` and `json` read a
 * setting as that, and `get` takes the text.
 *
 * @example
 * const threshold = config.number("threshold", 1000);
 *
 * @module
 */

import * as host from "#imports";

import { text } from "./text.ts";

/**
 * Why a setting cannot be had. When it leaves the handler it means retry, so that the event waits for the repair of `runtime.yaml`.
 */
export class ConfigError extends Error {
  static {
    this.prototype.name = "ConfigError";
  }

  /** `missing`: the setting is required and not there; `unfit`: it is not of the type that is asked for. */
  readonly code: "missing" | "unfit";

  constructor(code: ConfigError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** A setting or a granted secret as the host gives it, if it is there. */
export function get(key: string): string | undefined;
/** A setting or a granted secret as the host gives it, or what stands in for it. */
export function get(key: string, fallback: string): string;
export function get(key: string, fallback?: string): string | undefined {
  return host.configGet(text(key, "a setting's name")) ?? fallback;
}

/** A setting that must be there, as the host gives it. */
export function require(key: string): string {
  const value = get(key);
  if (value !== undefined) return value;
  const line = `plugins.settings.<plugin>.config.${key}`;
  throw new ConfigError("missing", `the setting \`${key}\` is missing: \`${line}\` in runtime.yaml sets it`);
}

/** A setting, read as a number, if it is there. */
export function number(key: string): number | undefined;
/** A setting, read as a number, or what stands in for it. */
export function number(key: string, fallback: number): number;
export function number(key: string, fallback?: number): number | undefined {
  const value = get(key);
  if (value === undefined) return fallback;
  const number = value.trim() === "" ? NaN : Number(value);
  if (Number.isNaN(number)) throw unfit(key, value, "a number");
  return number;
}

/** A setting, read as `true` or `false`, if it is there. */
export function boolean(key: string): boolean | undefined;
/** A setting, read as `true` or `false`, or what stands in for it. */
export function boolean(key: string, fallback: boolean): boolean;
export function boolean(key: string, fallback?: boolean): boolean | undefined {
  const value = get(key);
  if (value === undefined) return fallback;
  if (value !== "true" && value !== "false") throw unfit(key, value, "`true` or `false`");
  return value === "true";
}

/** A setting, read as JSON, if it is there. Its type is the author's promise. */
export function json<T = unknown>(key: string): T | undefined;
/** A setting, read as JSON, or what stands in for it. Its type is the author's promise. */
export function json<T>(key: string, fallback: T): T;
export function json(key: string, fallback?: unknown): unknown {
  const value = get(key);
  if (value === undefined) return fallback;
  try {
    return JSON.parse(value);
  } catch {
    throw unfit(key, value, "JSON");
  }
}

/** The names of all settings, without the secrets, in byte order. */
export function keys(): string[] {
  return host.configKeys();
}

// The value is left out of the message: it may be a secret.
function unfit(key: string, value: string, expected: string): ConfigError {
  return new ConfigError("unfit", `the setting \`${key}\`: expected ${expected}, found another text of ${value.length} characters`);
}
