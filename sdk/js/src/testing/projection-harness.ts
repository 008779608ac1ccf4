/**
 * One projection and the world around it: settings, and the documents that it folds.
 *
 * @module
 */

import { query } from "../call.ts";
import { parse, stringify } from "../data.ts";
import { Reject, Retry } from "../failure.ts";
import type { Projection } from "../projection.ts";
import type { TestContext, TestEvent } from "./given.ts";
import type { Run } from "./run.ts";
import { PLAUSIBLE_NOW, Stage, lowerConfig } from "./stage.ts";
import { within, type Collection } from "./world.ts";

/** What surrounds the projection, and where its calls stand. */
export interface ProjectionHarnessOptions extends TestContext {
  /** Collections with the fields that they are indexed by, as `projections[].collections` in `runtime.yaml` declares them. */
  collections?: Record<string, string[]>;
  /** Documents that are there already, by collection and key. */
  documents?: Record<string, Record<string, object>>;
  /** Settings, as they would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`. */
  config?: Record<string, unknown>;
  /** What `host.now` says: RFC 3339. */
  now?: string;
  /** What `host.timeLeft` says, in milliseconds; the whole `timeLimit` when left out, because time stands still in a harness. */
  timeLeft?: number;
  /** Makes every document function fail, as if the store could not be reached. */
  unavailable?: boolean;
}

/** A projection under test. Documents stay from one call to the next. */
export class ProjectionHarness {
  readonly #projection: Projection;
  readonly #stage: Stage;

  /** @param projection the default export of the plugin's module */
  constructor(projection: Projection, options: ProjectionHarnessOptions = {}) {
    const { collections = {}, documents = {}, config = {}, unavailable = false, ...times } = options;
    const { now = PLAUSIBLE_NOW, timeLeft, ...context } = times;
    const world = {
      role: "projection" as const,
      config: lowerConfig(config),
      state: new Map(),
      grants: undefined,
      collections: collectionsOf(collections, documents),
      now,
      timeLeft,
      unavailable,
    };
    this.#projection = projection;
    this.#stage = new Stage(projection, world, context);
  }

  /**
   * Folds one event and tells what came of it.
   *
   * @param context where this call stands, if otherwise than the harness says: `{ stream: "PAYMENTS" }`
   */
  apply(event: TestEvent, context: TestContext = {}): Run {
    return this.#stage.call(event, context);
  }

  /**
   * Asks a question about the documents, and gives the answer.
   *
   * @throws What the query fails with; for one that writes, the refusal.
   */
  query<Answer = any>(name: string, params: object = {}): Answer {
    const { world, timeLimit } = this.#stage;
    const [answer, call] = within(world, undefined, timeLimit, () => query(this.#projection, name, stringify(params)));
    if (call.refused) throw call.refused;
    if (!("failure" in answer)) return parse(answer.value) as Answer;
    if ("thrown" in answer) throw answer.thrown;
    const { tag, val } = answer.failure;
    throw tag === "reject" ? new Reject(val) : new Retry(val.reason, { after: val.delay });
  }
}

function collectionsOf(
  indexes: Record<string, string[]>,
  documents: Record<string, Record<string, object>>,
): Map<string, Collection> {
  const collections = new Map<string, Collection>();
  for (const name of [...Object.keys(indexes), ...Object.keys(documents)]) {
    const bodies = Object.entries(documents[name] ?? {});
    collections.set(name, {
      indexes: indexes[name] ?? [],
      documents: new Map(bodies.map(([key, body]) => [key, JSON.stringify(body)])),
    });
  }
  return collections;
}
