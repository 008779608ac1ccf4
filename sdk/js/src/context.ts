/**
 * Where a call stands.
 *
 * @module
 */

import type { Context as WitContext } from "tidemill:plugin/types@0.2.0";

/** Where this call stands: which route, which attempt, how much time. */
export abstract class Context {
  /** The route of `runtime.yaml` that delivers the event, or the projection that folds it. */
  declare readonly route: string;
  /** 1 for the first attempt. */
  declare readonly attempt: number;
  /** After this attempt fails the event is dead-lettered. */
  declare readonly maxAttempts: number;
  /** The stream of the original message. With `sequence` it names the event for ever, also after a retry or a redrive. */
  declare readonly stream: string;
  /** The sequence of the original message in its stream, as decimal text. */
  declare readonly sequence: string;
  /** How many milliseconds the call may take, counted from its start. A call that takes longer is interrupted. */
  declare readonly timeLimit: number;

  /**
   * The host's record is a context already, but for the class. To copy it would cost as much as to write a line to the log.
   *
   * @internal
   */
  static of(context: WitContext): Context {
    return Object.setPrototypeOf(context, Context.prototype);
  }

  /** Whether a failure of this call dead-letters the event. */
  get isLastAttempt(): boolean {
    return this.attempt >= this.maxAttempts;
  }
}
