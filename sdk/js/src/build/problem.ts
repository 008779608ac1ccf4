/**
 * What stops a build and is the author's to solve: a sentence, without a stack.
 *
 * @module
 */

export class Problem extends Error {}
