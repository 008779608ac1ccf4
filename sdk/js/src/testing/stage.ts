/**
 * What a handler's and a projection's harness have in common: the world, and where the next call stands.
 *
 * @module
 */

import type { Event as WitEvent } from "tidemill:plugin/types@0.2.0";

import { call, type Broken } from "../call.ts";
import { stringify } from "../data.ts";
import type { Handler } from "../handler.ts";
import type { Projection } from "../projection.ts";
import { encode } from "../utf8.ts";
import { Run, type Outcome } from "./run.ts";
import type { TestContext, TestEvent } from "./given.ts";
import { within, type Call, type World } from "./world.ts";

const PLAUSIBLE_CONTEXT = { route: "test", attempt: 1, maxAttempts: 5, stream: "TEST", timeLimit: 5000 };

const PLAUSIBLE_EVENT = {
  id: "event-1",
  source: "/test",
  time: "2026-01-01T00:00:00Z",
  datacontenttype: "application/json",
};

export const PLAUSIBLE_NOW = "2026-01-01T00:00:00.000Z";

export class Stage {
  world: World;

  readonly #plugin: Handler | Projection;
  readonly #context: TestContext;
  #sequence = 1;

  constructor(plugin: Handler | Projection, world: World, context: TestContext) {
    if (plugin?.role !== world.role) {
      throw new TypeError(`expected what \`${world.role}\` made, which is the default export of a plugin's module`);
    }
    this.world = world;
    this.#plugin = plugin;
    this.#context = context;
  }

  /** The time limit of a call that says nothing of its own. */
  get timeLimit(): number {
    return this.#context.timeLimit ?? PLAUSIBLE_CONTEXT.timeLimit;
  }

  /** Makes one call. What it did stays only if it is done; the sequence goes on when the event is settled. */
  call(event: TestEvent, context: TestContext): Run {
    const given = { ...PLAUSIBLE_CONTEXT, ...this.#context, ...context, sequence: String(this.#sequence) };
    const [broken, made] = within(this.world, given, given.timeLimit, () => call(this.#plugin, lower(event), given));
    const outcome = outcomeOf(broken, made);
    if (outcome.type === "done") this.world = made.world;
    if (outcome.type === "done" || outcome.type === "rejected") this.#sequence += 1;
    return new Run(outcome, made, this.world);
  }
}

function outcomeOf(broken: Broken | undefined, { refused }: Call): Outcome {
  if (broken?.failure.tag === "reject") return { type: "rejected", reason: broken.failure.val };
  if (refused) return { type: "refused", error: refused };
  if (!broken) return { type: "done" };
  if ("thrown" in broken) return { type: "threw", error: broken.thrown };
  const { reason, delay } = broken.failure.val;
  return { type: "retry", reason, after: delay };
}

function lower({ data, bytes, extensions = {}, ...attributes }: TestEvent): WitEvent {
  const json = data === undefined ? new Uint8Array() : stringify(data);
  return {
    ...PLAUSIBLE_EVENT,
    ...attributes,
    extensions: Object.entries(extensions).map(([name, value]) => ({ name, value })),
    data: bytes === undefined ? json : typeof bytes === "string" ? encode(bytes) : bytes.slice(),
  };
}

/** Settings as the host gives them: a text as it stands, anything else as JSON. */
export function lowerConfig(config: Record<string, unknown>): Map<string, string> {
  const lower = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
  return new Map(Object.entries(config).map(([key, value]) => [key, lower(value)]));
}
