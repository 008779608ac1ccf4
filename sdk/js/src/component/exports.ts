/**
 * What a component exports: the plugin's functions in the shape that the contract gives them.
 *
 * The build writes an entry that imports the plugin and exports what a function of this module makes of it. It runs while the component
 * is built, so a plugin that is none is a failed build.
 *
 * @module
 */

import type { Context, Event } from "tidemill:plugin/types@0.2.0";

import { call, query } from "../call.ts";
import type { Handler } from "../handler.ts";
import type { Projection } from "../projection.ts";
import { beginCall } from "./phase.ts";

/** The export `event-handler`. */
export function eventHandlerOf(plugin: unknown) {
  const handler = expected("handler", plugin) as Handler;
  return { handle: (event: Event, context: Context) => run(handler, event, context) };
}

/** The export `event-projection`. */
export function eventProjectionOf(plugin: unknown) {
  const projection = expected("projection", plugin) as Projection;
  return { apply: (event: Event, context: Context) => run(projection, event, context) };
}

/** The export `queries`. */
export function queriesOf(plugin: unknown) {
  const projection = expected("projection", plugin) as Projection;
  if (Object.keys(projection.queries).length === 0) {
    throw new TypeError("the plugin has no queries: the last argument of `projection` has them, by name");
  }
  return {
    query: (name: string, params: Uint8Array): Uint8Array => {
      beginCall();
      const answer = query(projection, name, params);
      if ("failure" in answer) throw answer.failure;
      return answer.value;
    },
  };
}

function run(plugin: Handler | Projection, event: Event, context: Context): void {
  beginCall();
  const broken = call(plugin, event, context);
  if (broken) throw broken.failure;
}

function expected(role: "handler" | "projection", plugin: unknown): unknown {
  const found = (plugin as { role?: unknown } | undefined)?.role;
  if (found === role) return plugin;
  const instead =
    typeof found === "string"
      ? `one made by \`${found}\`: \`world\` in plugin.yaml says which of them it is`
      : `none: write \`export default ${role}((event) => { … });\``;
  throw new TypeError(`expected the plugin to have a default export made by \`${role}\`, found ${instead}`);
}
