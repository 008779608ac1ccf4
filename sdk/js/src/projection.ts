/**
 * The frame of a projection: like a handler's, and functions that answer questions.
 *
 * @module
 */

import type { Schema } from "./data.ts";
import type { Event } from "./event.ts";
import { named, type Run } from "./handler.ts";

/** What {@link projection} makes: the default export of a plugin's module. */
export interface Projection {
  readonly role: "projection";
  readonly run: Run<any>;
  readonly schema: Schema | undefined;
  readonly queries: Queries;
}

/**
 * Answers to questions that the host's query API cannot answer, because they need more than one document: functions by the name of
 * the question. They are given its parameters, an object, and give an answer that JSON has a word for. They read the documents as far
 * as they have been folded, and write none. What they throw is told to whoever asked; nothing is tried again.
 *
 * A plugin with queries is built for the world `projection-with-queries`.
 */
export type Queries = Record<string, (params: any) => unknown>;

/**
 * Makes a plugin of a function that folds one event into the documents of `readModel`.
 *
 * Events come one by one, in the order of their stream; between streams there is no order. What is written becomes durable together
 * with the projection's position, so each event is folded exactly once. When the function throws, this event's writes are undone, and
 * no others.
 *
 * A rebuild folds all events again, into empty collections: nothing but the event and the documents should decide what comes of it,
 * neither the time nor chance.
 *
 * @example
 * export default projection<Order>((event) => readModel.put("orders", event.data.id, event.data), {
 *   count: ({ status }) => [...readModel.find("orders", "status", status)].length,
 * });
 *
 * @typeParam Data what the data of its events is
 */
export function projection<Data = unknown>(apply: Run<Event<Data>>, queries?: Queries): Projection;
/**
 * Makes a plugin of a schema (zod, valibot, arktype and others, see https://standardschema.dev) and a function that folds one event.
 * Data that does not fit the schema rejects the event before the function is called.
 */
export function projection<Data>(schema: Schema<Data>, apply: Run<Event<Data>>, queries?: Queries): Projection;
/** Makes a plugin of a function that folds events of several types, told apart by their `kind`. */
export function projection<AnyEvent extends Event<any, any>>(apply: Run<AnyEvent>, queries?: Queries): Projection;
export function projection(...parts: [Run<any>, Queries?] | [Schema, Run<any>, Queries?]): Projection {
  const [schema, run, queries = {}] = hasSchema(parts) ? parts : [undefined, ...parts];
  if (typeof run !== "function") {
    throw new TypeError("`projection` takes a function that folds an event, and before it perhaps a schema");
  }
  return Object.freeze({ role: "projection", run: named(run, "projection"), schema, queries });
}

// Not told by its type: some libraries make schemas that are functions.
function hasSchema(parts: [Run<any>, Queries?] | [Schema, Run<any>, Queries?]): parts is [Schema, Run<any>, Queries?] {
  return "~standard" in Object(parts[0]);
}
