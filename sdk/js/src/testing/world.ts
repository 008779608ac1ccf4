/**
 * What surrounds a plugin under test, and the call that is under way.
 *
 * @module
 */

import type { Outgoing } from "tidemill:plugin/emit@0.2.0";

import type { EmitError } from "../emit.ts";
import type { ReadModelError } from "../read-model.ts";
import type { LogLine } from "./run.ts";

/** What stays from call to call. */
export interface World {
  /** A component that imports what its role has not is refused when it is loaded. */
  readonly role: "handler" | "projection";
  readonly config: ReadonlyMap<string, string>;
  readonly state: Map<string, Uint8Array>;
  /** `undefined`: every subject is granted. */
  readonly grants: readonly string[] | undefined;
  readonly collections: ReadonlyMap<string, Collection>;
  readonly now: string;
  /** `undefined`: all of the time limit. */
  readonly timeLeft: number | undefined;
  /** Whether state and documents are out of reach. */
  readonly unavailable: boolean;
}

/** One collection: the fields that it is indexed by, and its documents by key, as JSON. */
export interface Collection {
  readonly indexes: readonly string[];
  readonly documents: Map<string, string>;
}

/** One call: the world as the call sees it, and what the call did. */
export interface Call {
  readonly world: World;
  /** Milliseconds. */
  readonly timeLeft: number;
  /** `undefined` while a question is answered. */
  readonly origin: Origin | undefined;
  readonly emits: Outgoing[];
  readonly logs: LogLine[];
  /** The first refused effect: it fails the call, whatever the plugin makes of it. */
  refused: EmitError | ReadModelError | undefined;
  /** How many random bytes were drawn. */
  drawn: number;
}

/** What stable ids are made from. */
export interface Origin {
  readonly route: string;
  readonly stream: string;
  readonly sequence: string;
}

let current: Call | undefined;

/** Runs a plugin with its imports answered from a copy of `world`, which the call changes. */
export function within<T>(world: World, origin: Origin | undefined, timeLimit: number, run: () => T): [T, Call] {
  const outer = current;
  const timeLeft = world.timeLeft ?? timeLimit;
  const call: Call = { world: copy(world), timeLeft, origin, emits: [], logs: [], refused: undefined, drawn: 0 };
  current = call;
  try {
    return [run(), call];
  } finally {
    current = outer;
  }
}

export function currentCall(): Call {
  if (current) return current;
  throw new Error("outside of a plugin the host can be asked only inside of a harness: see `@tidemill/sdk/testing`");
}

function copy(world: World): World {
  const collections = new Map<string, Collection>();
  for (const [name, { indexes, documents }] of world.collections) {
    collections.set(name, { indexes, documents: new Map(documents) });
  }
  return { ...world, state: new Map(world.state), collections };
}
