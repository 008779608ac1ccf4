/// <reference lib="dom" />
// A component in Node: jco makes a module of it, and the host is a handful of functions. So the engine that a plugin runs in, and all
// of the SDK that is only there, is tested where the SDK is made.

import { mkdirSync, writeFileSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";

import { transpileBytes } from "@bytecodealliance/jco-transpile";
import { WASIShim } from "@bytecodealliance/preview2-shim/instantiation";

// Components are linked from parts, which needs it; newer versions of Node have it anyway.
setFlagsFromString("--experimental-wasm-extended-const");

export interface Attribute {
  name: string;
  value: string;
}

/** What a component asked of its host. */
export class Host {
  emits: { to: string; kind: string; subject?: string; data: Uint8Array }[] = [];
  logs: { level: string; message: string; fields: Attribute[] }[] = [];
  state = new Map<string, Uint8Array>();
  documents = new Map<string, Uint8Array>();
  config = new Map<string, string>();
  drawn = 0;

  imports() {
    const fail = (tag: string, val: string) => {
      throw { payload: { tag, val } };
    };
    const { state, documents, config } = this;
    return {
      "tidemill:plugin/emit": {
        emit: (outgoing: Host["emits"][number]) => {
          if (outgoing.to === "forbidden") fail("not-granted", "emitting to `forbidden` is not granted");
          this.emits.push({ ...outgoing, data: outgoing.data.slice() });
        },
      },
      "tidemill:plugin/state": {
        get: (key: string) => (key === "unavailable" ? fail("unavailable", "no answer") : state.get(key)),
        put: (key: string, value: Uint8Array) => void state.set(key, value),
        delete: (key: string) => void state.delete(key),
        compareAndSet: (key: string, expected?: Uint8Array, value?: Uint8Array) => {
          const matches = String(state.get(key)) === String(expected);
          if (matches && value) state.set(key, value);
          return matches;
        },
        list: (prefix: string, after = "", limit: number) =>
          [...state.keys()].filter((key) => key.startsWith(prefix) && key > after).sort().slice(0, limit),
      },
      "tidemill:plugin/read-model": {
        get: (collection: string, key: string) =>
          collection === "things" ? documents.get(key) : fail("no-collection", `there is no \`${collection}\``),
        put: (_: string, key: string, body: Uint8Array) => void documents.set(key, body),
        delete: (_: string, key: string) => void documents.delete(key),
        find: (_: string, field: string, value: Uint8Array, after = "", limit: number) =>
          [...documents]
            .filter(([key, body]) => key > after && json(body)[field] === json(value))
            .slice(0, limit)
            .map(([key, body]) => ({ key, body })),
      },
      "tidemill:plugin/log": {
        write: (level: string, message: string, fields: Attribute[]) => this.logs.push({ level, message, fields }),
      },
      "tidemill:plugin/config": { get: (key: string) => config.get(key), keys: () => [...config.keys()] },
      "tidemill:plugin/host": {
        now: () => "2026-01-01T00:00:00.000Z",
        stableId: (name: string) => `id of ${name}`,
        timeLeft: () => 4990,
        random: (length: number) => Uint8Array.from({ length }, () => (this.drawn = (this.drawn * 167 + 13) % 65521)),
      },
    };
  }
}

export interface Instance {
  eventHandler: { handle(event: object, context: object): void };
  eventProjection: { apply(event: object, context: object): void };
  queries: { query(name: string, params: Uint8Array): Uint8Array };
}

/** Makes a module of a component, in a folder, and gives what makes instances of it. */
export async function load(component: string, folder: string): Promise<(host: Host) => Promise<Instance>> {
  const { files } = await transpileBytes(readFileSync(component), { name: "plugin", instantiation: "async" });
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  const { instantiate } = await import(pathToFileURL(join(folder, "plugin.js")).href);
  const modules = new Map<string, Promise<WebAssembly.Module>>();
  const compiled = (name: string) => {
    if (!modules.has(name)) modules.set(name, WebAssembly.compile(readFileSync(join(folder, name))));
    return modules.get(name)!;
  };
  return (host) => instantiate(compiled, { ...new WASIShim().getImportObject(), ...host.imports() });
}

export function event(kind: string, data: unknown, attributes: object = {}): object {
  const bytes = new TextEncoder().encode(JSON.stringify(data));
  return { id: "e-1", source: "/test", kind, extensions: [{ name: "correlationid", value: "c-1" }], data: bytes, ...attributes };
}

export function context(attributes: object = {}): object {
  return { route: "test", attempt: 1, maxAttempts: 5, stream: "TEST", sequence: "1", timeLimit: 5000, ...attributes };
}

export function json(bytes: Uint8Array): any {
  return JSON.parse(new TextDecoder().decode(bytes));
}
