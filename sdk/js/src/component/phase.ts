/**
 * Whether there is a host yet. A module's top level runs once, while the component is built, and what it makes is frozen into every
 * instance.
 *
 * @module
 */

/** How many calls this instance has begun; 0 while the component is built. */
export let calls = 0;

export function beginCall(): void {
  calls += 1;
}
