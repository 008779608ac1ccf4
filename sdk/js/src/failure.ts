/**
 * Why an event was not handled, and two words that say so.
 *
 * `retry` and `reject` throw by themselves, as SvelteKit's `error` and `redirect` do: a failure that has to be thrown by hand is a
 * failure that is forgotten now and then, and then the event counts as done. Their return type is `never`, so TypeScript knows
 * that what follows is not reached.
 *
 * @module
 */

import { withCauses } from "./text.ts";

/** Why an event was not handled: a {@link Retry} or a {@link Reject}. */
export abstract class Failure extends Error {
  /** What the dead letter says: the message, and those of its causes. */
  get reason(): string {
    return withCauses(this.message, this.cause);
  }
}

export interface FailureOptions {
  /** What went wrong; its message is added to the reason. */
  cause?: unknown;
}

export interface RetryOptions extends FailureOptions {
  /** The shortest time until the next attempt, in milliseconds; the route's backoff, where that is longer. */
  after?: number | undefined;
}

/** Trying again may help. Thrown by {@link retry}. */
export class Retry extends Failure {
  static {
    this.prototype.name = "Retry";
  }

  /** The shortest time until the next attempt, in milliseconds. */
  readonly after: number | undefined;

  constructor(reason: string, { after, ...options }: RetryOptions = {}) {
    if (after !== undefined && !(after >= 0)) {
      throw new TypeError(`\`after\` is a number of milliseconds, found ${String(after)}`);
    }
    super(reason, options);
    this.after = after;
  }
}

/** Trying again will not help. Thrown by {@link reject}. */
export class Reject extends Failure {
  static {
    this.prototype.name = "Reject";
  }
}

/**
 * Ends the call: trying again may help. When the attempts are used up, the event is dead-lettered.
 *
 * @example
 * retry("the ledger is closed", { after: 30_000 });
 */
export function retry(reason: string, options?: RetryOptions): never {
  throw new Retry(reason, options);
}

/**
 * Ends the call: trying again will not help. The event is dead-lettered at once, with this reason.
 *
 * @example
 * if (order.total < 0) reject("a total cannot be negative");
 */
export function reject(reason: string, options?: FailureOptions): never {
  throw new Reject(reason, options);
}
