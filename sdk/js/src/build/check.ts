/**
 * The types of a project, where it wants them checked: it has TypeScript installed, and a tsconfig.json.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";

import { Problem } from "./problem.ts";
import type { Project } from "./project.ts";

export async function check(project: Project): Promise<void> {
  const { configuration } = project;
  const typescript = project.installed("typescript");
  if (configuration === undefined || typescript === undefined) return;
  const tsc = join(typescript, "bin/tsc");
  const failed = await new Promise<string | undefined>((resolve) => {
    const options = { cwd: project.folder, maxBuffer: 16 * 1024 * 1024 };
    execFile(process.execPath, [tsc, "--noEmit", "--pretty", String(process.stderr.isTTY ?? false), "-p", configuration], options, (error, stdout, stderr) => {
      resolve(error ? stdout + stderr : undefined);
    });
  });
  if (failed !== undefined) throw new Problem(`the types do not fit:\n${failed.trimEnd()}`);
}
