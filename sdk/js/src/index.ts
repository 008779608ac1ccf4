/**
 * Write Tidemill plugins in TypeScript and JavaScript.
 *
 * {@link handler} and {@link projection} are the frames. {@link Event} and {@link Context} go in; {@link retry} and {@link reject} say why an
 * event was not handled. {@link emit} and {@link state} are what a handler may ask of the host, {@link readModel} is what a projection
 * may, {@link config}, {@link log} and {@link host} what both may. `@tidemill/sdk/testing` is the host's stand-in for tests.
 *
 * Everything that crosses the component boundary passes through one private module, `#imports`, which exists twice: as the imports of a
 * component, and as a stand-in that the harness answers from. `tidemill build` takes the first, everybody else the second. So the code
 * between a plugin's function and that module is the same in a test and in production.
 *
 * @module
 */

export { Context } from "./context.ts";
export type { Issue, Schema, Validated } from "./data.ts";
export { EmitError, emit, type Outgoing, type OutgoingBytes, type OutgoingJson } from "./emit.ts";
export { Event } from "./event.ts";
export { Failure, Reject, Retry, reject, retry, type FailureOptions, type RetryOptions } from "./failure.ts";
export { handler, type Handler, type Run } from "./handler.ts";
export { projection, type Projection, type Queries } from "./projection.ts";

export * as config from "./config.ts";
export * as host from "./host.ts";
export * as log from "./log.ts";
export * as readModel from "./read-model.ts";
export * as state from "./state.ts";

export { ConfigError } from "./config.ts";
export { ReadModelError } from "./read-model.ts";
export { StateError } from "./state.ts";
