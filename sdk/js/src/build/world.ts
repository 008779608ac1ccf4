/**
 * The world of a component: what it exports, by its kind, and what it imports, by what it uses. An import that is not used would have to
 * be granted all the same.
 *
 * @module
 */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Problem } from "./problem.ts";

export type WorldName = "handler" | "projection" | "projection-with-queries";

interface World {
  /** What it is made with. */
  maker: string;
  exports: string[];
  imports: string[];
}

const WORLDS: Record<WorldName, World> = {
  handler: { maker: "handler", exports: ["event-handler"], imports: ["emit", "state", "log", "config", "host"] },
  projection: { maker: "projection", exports: ["event-projection"], imports: ["read-model", "log", "config", "host"] },
  "projection-with-queries": {
    maker: "projection",
    exports: ["event-projection", "queries"],
    imports: ["read-model", "log", "config", "host"],
  },
};

/** The package that the contract is. */
const CONTRACT = new URL("../../wit", import.meta.url);
const PACKAGE = "tidemill:plugin";
const VERSION = "0.2.0";

/** The name that a component's own world has in the folder of {@link withContract}. */
export const OWN_WORLD = "plugin";

export function isWorldName(name: string): name is WorldName {
  return Object.hasOwn(WORLDS, name);
}

export const worldNames = Object.keys(WORLDS) as WorldName[];

/** Whether an imported module is of the contract. */
export function isOfContract(specifier: string): boolean {
  return specifier.startsWith(`${PACKAGE}/`);
}

/** The module that exports what the world says, made of the plugin's module. */
export function entryOf(name: WorldName, plugin: string): string {
  const made = WORLDS[name].exports.map((it) => `export const ${camel(it)} = exports.${camel(it)}Of(plugin.default);`);
  return [
    `import "@tidemill/sdk/component/prelude";`,
    `import * as plugin from ${JSON.stringify(`./${plugin}`)};`,
    `import * as exports from "@tidemill/sdk/component/exports";`,
    ...made,
  ].join("\n");
}

/** Gives `use` a folder with the contract and a world of it that imports just these modules. */
export async function withContract<T>(name: WorldName, imported: string[], use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "tidemill-wit-"));
  try {
    cpSync(CONTRACT, folder, { recursive: true });
    writeFileSync(join(folder, "own-world.wit"), wit(name, imported));
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function wit(name: WorldName, imported: string[]): string {
  const { maker, exports, imports } = WORLDS[name];
  const used = imported.map((specifier) => specifier.slice(PACKAGE.length + 1).split("@")[0]!);
  const [foreign] = used.filter((it) => !imports.includes(it));
  if (foreign !== undefined) {
    const has = imports.map((it) => `\`${camel(it)}\``).join(", ");
    throw new Problem(`the plugin uses \`${camel(foreign)}\`, which a ${maker} does not have; it has ${has}`);
  }
  const lines = [...used.map((it) => `import ${it};`), ...exports.map((it) => `export ${it};`)];
  return `package ${PACKAGE}@${VERSION};\n\nworld ${OWN_WORLD} {\n${lines.map((line) => `    ${line}\n`).join("")}}\n`;
}

/** A name of the contract as JavaScript has it. */
export function camel(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
