/**
 * Values as texts: for reasons, log lines and whatever else a person reads.
 *
 * @module
 */

/** What an error says, and what its causes say. The name stands in front, unless it is just "Error". */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return display(error);
  return withCauses(error.name === "Error" && error.message ? error.message : String(error), error.cause);
}

export function withCauses(message: string, cause: unknown): string {
  return cause === undefined ? message : `${message}: ${describe(cause)}`;
}

/** A value as a person reads it: a text as it is, an error by what it says, anything else as JSON where that can be had. */
export function display(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return describe(value);
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

/**
 * A text that can pass to the host, which knows texts only as UTF-8. Half a surrogate pair becomes U+FFFD; what is no text at all
 * is a mistake in the plugin, better met here than as a trap in the engine.
 */
export function text(value: unknown, what: string): string {
  if (typeof value !== "string") throw new TypeError(`${what} is a text, found ${display(value)}`);
  return value.toWellFormed();
}
