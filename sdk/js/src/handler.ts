/**
 * The frame of a handler: one function, exported as the module's default.
 *
 * A function and no class: an instance may vanish between two events, so there is nothing that `this` could promise to keep. What
 * must stay belongs into `state`.
 *
 * @module
 */

import type { Context } from "./context.ts";
import type { Schema } from "./data.ts";
import type { Event } from "./event.ts";

/** What {@link handler} makes: the default export of a plugin's module. */
export interface Handler {
  readonly role: "handler";
  readonly run: Run<any>;
  readonly schema: Schema | undefined;
}

/** What handles or folds an event. `undefined | void` and not `void`, which would let a promise pass. */
export type Run<AnyEvent> = (event: AnyEvent, context: Context) => undefined | void;

/**
 * Makes a plugin of a function that handles one event.
 *
 * When it returns, its emits and state writes become durable together with the fact that the event is done, all of them or none. When
 * it throws, or takes too long, none of them happens. The same event may be given again, after a failure or a crash; effects of an
 * earlier successful call are not doubled.
 *
 * It is synchronous, as everything that it may ask the host for: a plugin has no event loop, so what follows an `await` would never
 * run.
 *
 * @example
 * export default handler<Order>((event) => {
 *   if (event.data.total < 0) reject("a total cannot be negative");
 * });
 *
 * @typeParam Data what the data of its events is
 */
export function handler<Data = unknown>(handle: Run<Event<Data>>): Handler;
/**
 * Makes a plugin of a schema (zod, valibot, arktype and others, see https://standardschema.dev) and a function that handles one event.
 * Data that does not fit the schema rejects the event before the function is called.
 */
export function handler<Data>(schema: Schema<Data>, handle: Run<Event<Data>>): Handler;
/**
 * Makes a plugin of a function that handles events of several types, told apart by their `kind`.
 *
 * @example
 * type ShopEvent = Event<Created, "OrderCreated"> | Event<Shipped, "OrderShipped">;
 *
 * export default handler((event: ShopEvent) => {
 *   if (event.kind === "OrderShipped") log.info("shipped", { with: event.data.carrier });
 * });
 */
export function handler<AnyEvent extends Event<any, any>>(handle: Run<AnyEvent>): Handler;
export function handler(...parts: [Run<any>] | [Schema, Run<any>]): Handler {
  const [schema, run] = parts.length === 1 ? [undefined, parts[0]] : parts;
  if (typeof run !== "function") {
    throw new TypeError("`handler` takes a function that handles an event, and before it perhaps a schema");
  }
  return Object.freeze({ role: "handler", run: named(run, "handler"), schema });
}

/** Gives a function without a name one, for the stacks that people read. */
export function named<Run extends Function>(run: Run, name: string): Run {
  return run.name === "" ? Object.defineProperty(run, "name", { value: name }) : run;
}
