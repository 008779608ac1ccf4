/**
 * One handler and the world around it: settings, state, and where the call stands.
 *
 * @module
 */

import { stringify } from "../data.ts";
import type { Handler } from "../handler.ts";
import type { TestContext, TestEvent } from "./given.ts";
import type { Run } from "./run.ts";
import { PLAUSIBLE_NOW, Stage, lowerConfig } from "./stage.ts";

/** What surrounds the handler, and where its calls stand. */
export interface HarnessOptions extends TestContext {
  /** Settings, as they would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`. */
  config?: Record<string, unknown>;
  /** What the state holds, by key: bytes as they are, anything else as JSON. */
  state?: Record<string, unknown>;
  /** The subjects that may be emitted to, as the route's `emits` says. Left out, every subject is granted. */
  emits?: string[];
  /** What `host.now` says: RFC 3339. */
  now?: string;
  /** What `host.timeLeft` says, in milliseconds; the whole `timeLimit` when left out, because time stands still in a harness. */
  timeLeft?: number;
  /** Makes every state function fail, as if the store could not be reached. */
  stateUnavailable?: boolean;
}

/** A handler under test. State stays from one call to the next, as it does in the host. */
export class Harness {
  readonly #stage: Stage;

  /** @param handler the default export of the plugin's module */
  constructor(handler: Handler, options: HarnessOptions = {}) {
    const { config = {}, state = {}, emits: grants, stateUnavailable: unavailable = false, ...times } = options;
    const { now = PLAUSIBLE_NOW, timeLeft, ...context } = times;
    const bytes = (value: unknown) => (value instanceof Uint8Array ? value : stringify(value));
    const world = {
      role: "handler" as const,
      config: lowerConfig(config),
      state: new Map(Object.entries(state).map(([key, value]) => [key, bytes(value)])),
      grants,
      collections: new Map(),
      now,
      timeLeft,
      unavailable,
    };
    this.#stage = new Stage(handler, world, context);
  }

  /**
   * Gives the handler one event and tells what came of it.
   *
   * A call that ends settled (done or rejected) moves the stream's sequence on. After a retry the next call has the same sequence, and
   * so the same stable ids: it stands for the redelivery.
   *
   * @param context where this call stands, if otherwise than the harness says: `{ attempt: 2 }`
   */
  handle(event: TestEvent, context: TestContext = {}): Run {
    return this.#stage.call(event, context);
  }
}
