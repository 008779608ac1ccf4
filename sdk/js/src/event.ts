/**
 * The event that is handled.
 *
 * @module
 */

import type { Attribute, Event as WitEvent } from "tidemill:plugin/types@0.2.0";

import { fit, read, type Schema } from "./data.ts";
import { decode } from "./utf8.ts";

const UNREAD = Symbol("unread");

/** As it is called in a rejection. */
const WHAT = "the event's data";

/**
 * A CloudEvents 1.0 event that has passed its JSON Schema, where one is registered.
 *
 * @typeParam Data what its data is, read as JSON
 * @typeParam Kind its type, for a handler that tells several types apart
 */
export class Event<Data = unknown, Kind extends string = string> {
  /** Unique together with `source`. A redelivery has the same id. */
  readonly id: string;
  readonly source: string;
  /** The CloudEvents attribute `type`, for example `OrderCreated`. */
  readonly kind: Kind;
  /** RFC 3339, as the producer wrote it. */
  readonly time: string | undefined;
  /** The CloudEvents attribute `subject`. Not the NATS subject. */
  readonly subject: string | undefined;
  readonly datacontenttype: string | undefined;
  readonly dataschema: string | undefined;
  /** Extension attributes, with lower-case names: `correlationid`, `causationid`, `traceparent`, and the producer's own. */
  readonly extensions: Readonly<Record<string, string | undefined>>;
  /** The data, byte for byte what the producer sent. */
  readonly bytes: Uint8Array;

  #data: Data | typeof UNREAD = UNREAD;

  /** @internal */
  constructor(event: WitEvent, schema?: Schema<Data>) {
    this.id = event.id;
    this.source = event.source;
    this.kind = event.kind as Kind;
    // What is not there is null in QuickJS, undefined elsewhere.
    this.time = event.time ?? undefined;
    this.subject = event.subject ?? undefined;
    this.datacontenttype = event.datacontenttype ?? undefined;
    this.dataschema = event.dataschema ?? undefined;
    this.extensions = toRecord(event.extensions);
    this.bytes = event.data;
    // Read now, so that no `try` of the plugin's meets the rejection.
    if (schema) this.#data = fit(schema, read(this.bytes, WHAT), WHAT);
  }

  /**
   * The data, read as JSON when it is asked for. Data that is no JSON rejects the event; with a schema, data that does not fit
   * does so before the handler is called.
   *
   * Without a schema its type is the author's promise. The host keeps it where a JSON Schema is registered for the type.
   */
  get data(): Data {
    if (this.#data === UNREAD) this.#data = read(this.bytes, WHAT) as Data;
    return this.#data;
  }

  /** The data as a text, for formats other than JSON. */
  get text(): string {
    return decode(this.bytes);
  }
}

// An index and no iterator: this runs for each event, and QuickJS makes an object for each step of an iterator.
function toRecord(attributes: Attribute[]): Record<string, string> {
  const record: Record<string, string> = {};
  for (let at = 0, end = attributes.length; at < end; at++) {
    const attribute = attributes[at]!;
    record[attribute.name] = attribute.value;
  }
  return record;
}
