/**
 * A bundle and an engine as one component.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

// @ts-ignore: it is large, and there only where that engine is wanted.
import type * as Starling from "@bytecodealliance/componentize-js";
import type * as Qjs from "componentize-qjs";

import { framesIn, type Places } from "../component/places.ts";
import type { Bundle } from "./bundle.ts";
import { Problem } from "./problem.ts";
import type { Project } from "./project.ts";
import { OWN_WORLD, camel } from "./world.ts";

/** Makes the component. The plugin's modules run once meanwhile, and what they make is frozen into it. */
export type Engine = (project: Project, bundle: Bundle, contract: string) => Promise<Uint8Array>;

export const engines: Record<string, Engine> = { quickjs, spidermonkey };

async function quickjs(project: Project, { code, places }: Bundle, contract: string): Promise<Uint8Array> {
  const { componentize } = await project.tool<typeof Qjs>("componentize-qjs");
  try {
    // Not the asynchronous engine: the contract's functions are synchronous, and so is the host's offer.
    const { component } = await componentize({ witPath: contract, jsSource: code, world: OWN_WORLD, sync: true });
    return component;
  } catch (error) {
    throw new Problem(explain(error instanceof Error ? error.message : String(error), places));
  }
}

/** SpiderMonkey has what browsers have, `URL` and `Intl` included, and costs a component of 12 MB and a slower call. */
async function spidermonkey(project: Project, { code, places }: Bundle, contract: string): Promise<Uint8Array> {
  const { componentize } = await project.tool<typeof Starling>("@bytecodealliance/componentize-js");
  const sourcePath = join(contract, "plugin.js");
  writeFileSync(sourcePath, code);
  try {
    const { component } = await componentize({
      sourcePath,
      witPath: contract,
      worldName: OWN_WORLD,
      // A component that imports `wasi:http` has to be granted it, whether it uses it or not.
      disableFeatures: ["http", "fetch-event"],
    });
    return component;
  } catch (error) {
    throw new Problem(explain(error instanceof Error ? error.message : String(error), places));
  }
}

/** What an engine says of a module that failed, in the words of its author. */
function explain(said: string, places: Places): string {
  const [, asked] = /unknown import: `tidemill:plugin\/([^@]+)@/.exec(said) ?? [];
  if (asked !== undefined) {
    return (
      `the plugin asks the host (\`${camel(asked)}\`) outside of its function, when its module is loaded; ` +
      "that happens while the component is built, and there is no host yet"
    );
  }
  // `…: Error: the message`, then the frames.
  const [, message, stack] = /JavaScript module[^:]*: Error: (.*?)\n((?:\s+at .*\n?)*)\s*$/s.exec(said) ?? [, said.trim(), ""];
  const frames = framesIn(places, stack!).map((frame) => ` ${frame}`);
  return `the plugin failed when its module was loaded: ${message}${frames.join("")}`;
}
