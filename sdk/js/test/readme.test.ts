// What the README shows is true: its handler and its projection are checked, tested and built as they stand there.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";

import { build, project } from "./project.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** The files that a section shows, by the names in their first lines. */
function filesOf(section: string): Record<string, string> {
  const text = readme.split(/^## /m).find((part) => part.startsWith(section)) ?? "";
  const blocks = text.matchAll(/^```ts\n\/\/ (\S+)\n(.*?)^```/gms);
  return Object.fromEntries([...blocks].map(([, name, code]) => [name!, code!]));
}

const tsconfig = JSON.stringify({
  compilerOptions: {
    target: "es2023",
    module: "nodenext",
    types: ["node"],
    strict: true,
    noUncheckedIndexedAccess: true,
    allowImportingTsExtensions: true,
    noEmit: true,
  },
  include: ["src"],
});

for (const [section, world] of [["A first handler", "handler"], ["A first projection", "projection-with-queries"]] as const) {
  test(`${section.toLowerCase()} is tested and built as it stands in the README`, async (t) => {
    const files = filesOf(section);
    assert.deepEqual(Object.keys(files), ["src/index.ts", "src/index.test.ts"]);
    const tools = ["esbuild", "componentize-qjs", "typescript", "tsx", "@types"];
    const folder = project(t, { ...files, "tsconfig.json": tsconfig }, tools);

    const environment = { ...process.env };
    delete environment["NODE_TEST_CONTEXT"];
    const run = promisify(execFile)(process.execPath, ["--import", "tsx", "--test", "src/index.test.ts"], { cwd: folder, env: environment });
    assert.match((await run).stdout, /^# pass 1$/m);
    const { code, stderr } = await build(folder, "--world", world);
    assert.deepEqual([code, stderr], [0, ""]);
  });
}

test("the tools that the README names are those that the SDK is tested with", () => {
  const { devDependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const named = JSON.parse(/^```json\n(.*?)^```/ms.exec(readme)![1]!).devDependencies as Record<string, string>;
  for (const [tool, version] of Object.entries(named)) {
    const [major, minor] = version.replace("^", "").split(".");
    assert.match(devDependencies[tool], new RegExp(`^${major}\\.${minor}\\.`), tool);
  }
});

test("the contract's copy is the repository's", () => {
  // Older versions, in folders, are the host's to know.
  const namesIn = (folder: URL) => readdirSync(folder).filter((name) => name.endsWith(".wit")).sort();
  const texts = (folder: URL) => namesIn(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")]);
  const theirs = texts(new URL("../../../wit/", import.meta.url));
  assert(theirs.length > 5, "the contract has several files");
  assert.deepEqual(texts(new URL("../wit/", import.meta.url)), theirs);
});
