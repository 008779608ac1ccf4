#!/usr/bin/env node
/**
 * Builds a plugin: `tidemill build` calls this, and it works by itself as well.
 *
 *     tidemill-build [FOLDER] --out FILE [--world WORLD] [--engine ENGINE] [--within FOLDER]
 *
 * @module
 */

import { renameSync, writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";

import { bundle } from "./bundle.ts";
import { check } from "./check.ts";
import { engines } from "./componentize.ts";
import { Problem } from "./problem.ts";
import { Project } from "./project.ts";
import { isWorldName, withContract, worldNames } from "./world.ts";

const USAGE = `usage: tidemill-build [FOLDER] --out FILE [--world ${worldNames.join("|")}] [--engine ${Object.keys(engines).join("|")}] [--within FOLDER]`;

async function main(): Promise<void> {
  const { folder, out, world, engine, within } = wanted();
  const project = new Project(folder, within);
  const make = engines[engine];
  if (!isWorldName(world)) throw new Problem(`there is no world \`${world}\`: expected ${worldNames.join(", ")}`);
  if (!make) throw new Problem(`there is no engine \`${engine}\`: expected ${Object.keys(engines).join(", ")}`);
  const [bundled] = await Promise.all([bundle(project, world), check(project)]);
  const component = await withContract(world, bundled.imported, (contract) => make(project, bundled, contract));
  // A host may be watching the folder: it must never see half a file.
  writeFileSync(`${out}.part`, component);
  renameSync(`${out}.part`, out);
}

function wanted() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { out: { type: "string" }, world: { type: "string" }, engine: { type: "string" }, within: { type: "string" } },
    });
    const { out, world = "handler", engine = "quickjs", within } = values;
    const [folder = ".", ...more] = positionals;
    if (out !== undefined && more.length === 0) return { folder, out, world, engine, within };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  throw new Problem(USAGE);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Problem ? `error: ${error.message}` : error);
  process.exitCode = 1;
}
