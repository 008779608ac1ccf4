/**
 * A plugin's project: a folder with a package.json, and what npm has installed in it.
 *
 * @module
 */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { Problem } from "./problem.ts";

/** Where the plugin's module is looked for, unless `main` in package.json says. */
const ENTRIES = ["src/index.ts", "src/index.js", "index.ts", "index.js"];

/** What TypeScript keeps to, and whose presence means that it is wanted. A jsconfig.json is the editor's: what it underlines need not be a mistake. */
const CONFIGURATION = "tsconfig.json";

export class Project {
  readonly folder: string;
  /** The last folder, upwards, in which tools are looked for. */
  readonly #top: string;

  constructor(folder: string, top = "/") {
    this.folder = resolve(folder);
    this.#top = resolve(top);
    if (!existsSync(join(this.folder, "package.json"))) {
      throw new Problem(`there is no package.json in ${this.folder}, so it is no JavaScript project`);
    }
  }

  /** The plugin's module, relative to the folder. */
  get entry(): string {
    const { main } = manifest(this.folder) as { main?: string };
    const entry = [...(main === undefined ? [] : [main]), ...ENTRIES].find((name) => existsSync(join(this.folder, name)));
    if (entry !== undefined) return entry;
    const expected = main === undefined ? `${ENTRIES[0]} or ${ENTRIES[1]}` : `${main}, as \`main\` of package.json says`;
    throw new Problem(`there is no plugin in ${this.folder}: expected ${expected}`);
  }

  /** What TypeScript is to check, if anything. */
  get configuration(): string | undefined {
    return existsSync(join(this.folder, CONFIGURATION)) ? CONFIGURATION : undefined;
  }

  /** A tool that the project depends on. It is looked for from the project, because the SDK has none of its own. */
  async tool<Tool>(name: string): Promise<Tool> {
    const folder = this.installed(name);
    if (folder === undefined) {
      throw new Problem(`${name} is not installed: \`npm install\` in ${relative(".", this.folder) || "."} installs it`);
    }
    // `require.resolve` would do, but for packages that are for `import` alone.
    const { exports, main = "index.js" } = manifest(folder) as { exports?: { import?: string }; main?: string };
    return (await import(pathToFileURL(join(folder, exports?.import ?? main)).href)) as Tool;
  }

  /** The folder of a package that the project depends on, or what the project is a part of. */
  installed(name: string): string | undefined {
    for (let folder = this.folder; ; folder = dirname(folder)) {
      const found = join(folder, "node_modules", name);
      if (existsSync(join(found, "package.json"))) return found;
      if (folder === this.#top || folder === dirname(folder)) return undefined;
    }
  }
}

function manifest(folder: string): unknown {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}
