// Projects to build, in folders that vanish with the test.

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const SDK = fileURLToPath(new URL("..", import.meta.url));
const TOOLS = ["esbuild", "componentize-qjs", "typescript"];

export interface Built {
  /** The component, if there is one. */
  out: string;
  code: number;
  stderr: string;
}

/** Writes a project, with the SDK and these tools installed. */
export function project(test: TestContext, files: Record<string, string>, tools = TOOLS): string {
  const folder = mkdtempSync(join(tmpdir(), "tidemill-project-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  };
  for (const [name, text] of Object.entries({ "package.json": '{ "type": "module" }', ...files })) write(name, text);
  mkdirSync(join(folder, "node_modules/@tidemill"), { recursive: true });
  symlinkSync(SDK, join(folder, "node_modules/@tidemill/sdk"), "junction");
  for (const tool of tools) symlinkSync(join(SDK, "node_modules", tool), join(folder, "node_modules", tool), "junction");
  return folder;
}

/** Builds a project, as `tidemill build` does. */
export function build(folder: string, ...options: string[]): Promise<Built> {
  const out = join(folder, "plugin.wasm");
  const command = [join(SDK, "lib/build/main.js"), folder, "--out", out, ...options];
  return new Promise((resolve) => {
    execFile(process.execPath, command, (error, _, stderr) => resolve({ out, code: Number(error?.code ?? 0), stderr }));
  });
}
