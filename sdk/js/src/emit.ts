/**
 * Events that a handler publishes.
 *
 * @module
 */

import * as host from "#imports";
import type { Attribute } from "tidemill:plugin/types@0.2.0";

import { stringify } from "./data.ts";
import { describe, text } from "./text.ts";
import { encode } from "./utf8.ts";

/**
 * An event to publish. The host adds what is its own: a deterministic `id`, `source`, `time`, and the `correlationid`, `causationid`
 * and `traceparent` of the event that is being handled.
 */
export type Outgoing = OutgoingJson | OutgoingBytes;

export interface OutgoingAttributes {
  /** The NATS subject to publish to. It must be granted: the route's `emits` in `runtime.yaml`. */
  to: string;
  /** The CloudEvents attribute `type`. Where a schema is registered for it, the data must match. */
  kind: string;
  /** The CloudEvents attribute `subject`: what the event is about. Not the NATS subject. */
  subject?: string | undefined;
  /** The schema that the data follows, where it is not the newest one of the type. */
  dataschema?: string | undefined;
  /** Extension attributes of your own; their names are made of `a-z` and `0-9`. */
  extensions?: Record<string, string> | undefined;
}

export interface OutgoingJson extends OutgoingAttributes {
  /** The data, written as JSON. */
  data?: unknown;
  bytes?: undefined;
  /** `application/json` when left out. */
  datacontenttype?: string | undefined;
}

export interface OutgoingBytes extends OutgoingAttributes {
  data?: undefined;
  /** The data, in another format than JSON. */
  bytes: Uint8Array | string;
  datacontenttype: string;
}

/**
 * Why an emit was refused. The host fails a call with a refused emit even if the handler goes on: half of what a handler wanted
 * is never done.
 */
export class EmitError extends Error {
  static {
    this.prototype.name = "EmitError";
  }

  /**
   * `not-granted`: the message names the line of `runtime.yaml` that would allow it; `invalid`: a subject, type or attribute breaks a
   * rule; `limit`: the message names the limit that is used up; `unwritable`: the data has no JSON.
   */
  readonly code: "not-granted" | "invalid" | "limit" | "unwritable";

  constructor(code: EmitError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

const NONE: Attribute[] = [];

/**
 * Publishes an event, as soon as the handler has returned and what it did is durable.
 *
 * @example
 * emit({ to: "fraud.checked", kind: "FraudChecked", data: { order: "o-1", risk: "high" } });
 *
 * @throws {@link EmitError} The host refuses what is not granted, breaks a rule or exceeds a limit; then the call fails in any case.
 */
export function emit(outgoing: Outgoing): void {
  const { subject, datacontenttype, dataschema, extensions } = outgoing;
  host.emit(
    text(outgoing.to, "the emit's `to`"),
    text(outgoing.kind, "the emit's `kind`"),
    subject === undefined ? undefined : text(subject, "the emit's `subject`"),
    datacontenttype === undefined ? undefined : text(datacontenttype, "the emit's `datacontenttype`"),
    dataschema === undefined ? undefined : text(dataschema, "the emit's `dataschema`"),
    extensions === undefined ? NONE : toAttributes(extensions),
    toBytes(outgoing),
  );
}

function toBytes({ data, bytes }: Outgoing): Uint8Array {
  if (bytes !== undefined) return typeof bytes === "string" ? encode(bytes) : bytes;
  if (data === undefined) return new Uint8Array();
  try {
    return stringify(data);
  } catch (error) {
    throw new EmitError("unwritable", `the emit's data cannot be written as JSON: ${describe(error)}`);
  }
}

function toAttributes(extensions: Record<string, string>): Attribute[] {
  const attributes: Attribute[] = [];
  for (const name of Object.keys(extensions)) {
    attributes.push({ name: text(name, "an extension's name"), value: text(extensions[name], `the extension \`${name}\``) });
  }
  return attributes;
}
