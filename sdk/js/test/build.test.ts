// A project becomes a component, or its author is told why not.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { build, project } from "./project.ts";

/** What a component imports of the contract. Its names are in it as they are. */
function importsOf(component: string): string[] {
  const names = readFileSync(component, "latin1").matchAll(/tidemill:plugin\/([a-z-]+)@0\.2\.0/g);
  return [...new Set([...names].map(([, name]) => name!))].sort();
}

test("a component imports what the plugin uses, so nothing needs a grant that is not used", async (t) => {
  const quiet = project(t, { "src/index.js": `import { handler } from "@tidemill/sdk"; export default handler(() => {});` });
  const { code, stderr, out } = await build(quiet);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.deepEqual(importsOf(out), ["event-handler", "host", "log", "types"]);

  const busy = project(t, {
    "package.json": '{ "type": "module", "main": "plugin.js" }',
    "plugin.js": `import { config, emit, handler, state } from "@tidemill/sdk";
      export default handler(() => emit({ to: config.get("to"), kind: state.getJson("kind") }));`,
  });
  assert.equal((await build(busy)).code, 0);
  assert.deepEqual(importsOf(`${busy}/plugin.wasm`), ["config", "emit", "event-handler", "host", "log", "state", "types"]);
  assert(!existsSync(`${busy}/plugin.wasm.part`));
});

test("a projection with queries exports both", async (t) => {
  const source = `import { projection, readModel } from "@tidemill/sdk";
    export default projection((event) => readModel.put("all", event.id, {}), { one: () => 1 });`;
  const folder = project(t, { "src/index.js": source });
  const { code, out } = await build(folder, "--world", "projection-with-queries");
  assert.equal(code, 0);
  assert.deepEqual(importsOf(out), ["event-projection", "host", "log", "queries", "read-model", "types"]);
});

/** What the author is told of a project that cannot be built. */
const refused: Record<string, { files: Record<string, string>; options?: string[]; tools?: string[]; told: RegExp }> = {
  "a project without a plugin": {
    files: {},
    told: /^error: there is no plugin in .*: expected src\/index\.ts or src\/index\.js\n$/,
  },
  "a main that is not there": {
    files: { "package.json": '{ "main": "lib/plugin.js" }' },
    told: /expected lib\/plugin\.js, as `main` of package\.json says\n$/,
  },
  "tools that are not installed": {
    files: { "src/index.js": "export default 1;" },
    tools: [],
    told: /^error: esbuild is not installed: `npm install` in .* installs it\n$/,
  },
  "a module without a default export": {
    files: { "src/index.js": "export const handle = 1;" },
    told: /^error: .*: expected the plugin to have a default export made by `handler`, found none: write `export default handler\(.*`\n$/,
  },
  "a projection that is built as a handler": {
    files: { "src/index.js": 'import { projection } from "@tidemill/sdk"; export default projection(() => {});' },
    told: /default export made by `handler`, found one made by `projection`: `world` in plugin.yaml says which/,
  },
  "a projection without the queries that its world has": {
    files: { "src/index.js": 'import { projection } from "@tidemill/sdk"; export default projection(() => {});' },
    options: ["--world", "projection-with-queries"],
    told: /the plugin has no queries/,
  },
  "a projection that emits": {
    files: {
      "src/index.js": `import { emit, projection } from "@tidemill/sdk";
        export default projection(() => emit({ to: "x", kind: "X" }));`,
    },
    options: ["--world", "projection"],
    told: /^error: the plugin uses `emit`, which a projection does not have; it has `readModel`, `log`, `config`, `host`\n$/,
  },
  "a module that asks the host while it is loaded": {
    files: { "src/index.js": `import { config, handler } from "@tidemill/sdk"; config.get("x"); export default handler(() => {});` },
    told: /^error: the plugin asks the host \(`config`\) outside of its function/,
  },
  "a module that fails while it is loaded": {
    files: { "src/index.js": `import "./table.js";`, "src/table.js": `\nfunction fill() {\n  throw new RangeError("too early");\n}\n\nfill();` },
    told: /^error: the plugin failed when its module was loaded: too early at fill \(src\/table\.js:3\) at src\/table\.js:6\n$/,
  },
  "a module of Node's": {
    files: { "src/index.js": `import "node:fs";` },
    told: /`node:fs` is a module of Node's, and a plugin does not run in Node/,
  },
  "a mistake in the syntax": {
    files: { "src/index.js": "const = 1;" },
    told: /Expected identifier.*bundling failed with 1 errors, see above\n$/s,
  },
  "types that do not fit": {
    files: {
      "src/index.ts": `import { handler } from "@tidemill/sdk"; export default handler(async () => {});`,
      "tsconfig.json": '{ "compilerOptions": { "module": "nodenext", "target": "es2023", "types": [], "strict": true, "skipLibCheck": false } }',
    },
    told: /^error: the types do not fit:\n.*src\/index\.ts/s,
  },
  "a world that there is not": { files: {}, options: ["--world", "aggregate"], told: /there is no world `aggregate`: expected handler, / },
  "an engine that there is not": { files: {}, options: ["--engine", "v8"], told: /there is no engine `v8`: expected quickjs/ },
  "an option that there is not": { files: {}, options: ["--verbose"], told: /^error: usage: tidemill-build / },
};

for (const [what, { files, options = [], tools, told }] of Object.entries(refused)) {
  test(`the author is told of ${what}`, async (t) => {
    const { code, stderr, out } = await build(project(t, files, tools), ...options);
    assert.equal(code, 1, stderr);
    assert.match(stderr, told);
    assert(!/^\s+at /m.test(stderr), `a stack says nothing to an author: ${stderr}`);
    assert(!existsSync(out));
  });
}

test("a folder without a package.json is no project", async (t) => {
  const { code, stderr } = await build(join(project(t, {}), "node_modules"));
  assert.equal(code, 1);
  assert.match(stderr, /^error: there is no package\.json in .*, so it is no JavaScript project\n$/);
});

test("TypeScript is checked against the declarations of the SDK, themselves included", async (t) => {
  const folder = project(t, {
    "src/index.ts": `import { handler, log } from "@tidemill/sdk";
      import type { Harness } from "@tidemill/sdk/testing";
      export default handler<{ name: string }>((event) => log.info(event.data.name));
      export type Unused = Harness;`,
    "tsconfig.json":
      '{ "compilerOptions": { "module": "nodenext", "target": "es2023", "lib": ["es2023"], "types": [], "strict": true, "skipLibCheck": false }, "include": ["src"] }',
  });
  const { code, stderr } = await build(folder);
  assert.deepEqual([code, stderr], [0, ""]);
});

test("JavaScript whose editor would underline it builds", async (t) => {
  const folder = project(t, {
    "src/index.js": `import { handler } from "@tidemill/sdk";
      const total = (order) => order.net + order.tax;
      export default handler((event) => { if (total(event.data) < 0) throw new Error("negative"); });`,
    "jsconfig.json": '{ "compilerOptions": { "module": "nodenext", "target": "es2023", "checkJs": true, "strict": true } }',
  });
  const { code, stderr } = await build(folder);
  assert.deepEqual([code, stderr], [0, ""]);
});

test("no tool is taken from above the folder that is named", async (t) => {
  const above = project(t, { "one/package.json": "{}", "one/src/index.js": "export default 1;" });
  const { code, stderr } = await build(join(above, "one"), "--within", join(above, "one"));
  assert.equal(code, 1);
  assert.match(stderr, /^error: esbuild is not installed: `npm install` in /);
});
