/**
 * A plugin's module and all that it imports as one module, by esbuild.
 *
 * It is not minified: names of functions are in the stacks that people read, and the engine weighs a hundred times as much.
 *
 * @module
 */

import { builtinModules } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import type * as Esbuild from "esbuild";

import { OURS, type Places } from "../component/places.ts";
import { placesOf, type SourceMap } from "./places.ts";
import { Problem } from "./problem.ts";
import type { Project } from "./project.ts";
import { entryOf, isOfContract, type WorldName } from "./world.ts";

export interface Bundle {
  code: string;
  /** Where its lines come from. */
  places: Places;
  /** The modules of the contract that it imports. */
  imported: string[];
}

const SDK = fileURLToPath(new URL("../..", import.meta.url));

export async function bundle(project: Project, world: WorldName): Promise<Bundle> {
  const esbuild = await project.tool<typeof Esbuild>("esbuild");
  const built = await esbuild
    .build({
      stdin: { contents: entryOf(world, project.entry), resolveDir: project.folder, sourcefile: join(SDK, "entry") },
      absWorkingDir: project.folder,
      outfile: "plugin.js",
      bundle: true,
      write: false,
      metafile: true,
      sourcemap: "external",
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["tidemill", "module"],
      target: "es2023",
      charset: "utf8",
      legalComments: "none",
      define: { "process.env.NODE_ENV": '"production"' },
      // A plugin without a default export is told so in other words.
      logOverride: { "import-is-undefined": "silent" },
      plugins: [contract, nothingOfNode],
    })
    .catch((failed: Esbuild.BuildFailure) => {
      if (!Array.isArray(failed.errors)) throw failed;
      // esbuild has told the author, with the lines in question.
      throw new Problem(`bundling failed with ${failed.errors.length} errors, see above`);
    });
  const output = Object.values(built.metafile.outputs).find(({ entryPoint }) => entryPoint !== undefined);
  const [map, code] = [".js.map", ".js"].map((end) => built.outputFiles.find(({ path }) => path.endsWith(end))?.text ?? "");
  const places = placesIn(project, map ?? "");
  return {
    code: `${code}globalThis.__tidemillPlaces = ${JSON.stringify(places)};\n`,
    places,
    imported: (output?.imports ?? []).filter(({ external }) => external).map(({ path }) => path).sort(),
  };
}

/** The contract is the host's. An import of it that nothing uses has no effect, so it can go. */
const contract: Esbuild.Plugin = {
  name: "contract",
  setup(build) {
    build.onResolve({ filter: /^tidemill:/ }, ({ path }) => {
      return isOfContract(path) ? { path, external: true, sideEffects: false } : undefined;
    });
  },
};

const nothingOfNode: Esbuild.Plugin = {
  name: "nothing of Node",
  setup(build) {
    build.onResolve({ filter: /^(node:|[a-z])/ }, async ({ path, pluginData, ...options }) => {
      if (pluginData === nothingOfNode || !builtinModules.includes(path.replace(/^node:/, ""))) return undefined;
      // There are packages that bear the name of a module of Node's, and can stand in for it.
      const found = await build.resolve(path, { ...options, pluginData: nothingOfNode });
      if (found.errors.length === 0) return found;
      return { errors: [{ text: `\`${path}\` is a module of Node's, and a plugin does not run in Node: it has no files, no network and no processes` }] };
    });
  },
};

function placesIn(project: Project, map: string): Places {
  return placesOf(JSON.parse(map) as SourceMap, (source) => {
    const path = join(project.folder, source);
    const inSdk = relative(SDK, path);
    const name = inSdk.startsWith("..") ? relative(project.folder, path) : join(OURS, inSdk);
    return name.replaceAll("\\", "/");
  });
}
