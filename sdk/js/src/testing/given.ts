/**
 * What a test gives.
 *
 * @module
 */

/** An event of a test. What is left out has a plausible value. */
export interface TestEvent {
  /** The CloudEvents attribute `type`. */
  kind: string;
  /** The data, written as JSON. */
  data?: unknown;
  /** The data, where it is not JSON, or not even that. */
  bytes?: Uint8Array | string;
  id?: string;
  source?: string;
  time?: string;
  /** The CloudEvents attribute `subject`. */
  subject?: string;
  datacontenttype?: string;
  dataschema?: string;
  extensions?: Record<string, string>;
}

/** Where a call stands, as far as a test cares. */
export interface TestContext {
  /** The name of the route or of the projection. */
  route?: string;
  /** 1 when left out. */
  attempt?: number;
  maxAttempts?: number;
  stream?: string;
  timeLimit?: number;
}
