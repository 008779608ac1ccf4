// A handler whose behaviour the event names, for the tests that call a component.

import { config, emit, EmitError, handler, host, log, reject, retry, state, StateError } from "@tidemill/sdk";

import { deep } from "./deep.ts";

const frozen = Math.random();
console.log("nobody reads this: the component is being built");

export default handler<Record<string, string>>((event, context) => {
  if (event.kind === "async") return Promise.resolve() as never;
  const does = doings[event.kind];
  if (!does) reject(`no such wish: ${event.kind}`);
  const answer = does(event.data, context.attempt);
  if (answer !== undefined) emit({ to: "answers", kind: "Answer", subject: event.subject, data: answer });
});

const doings: Record<string, (data: Record<string, string>, attempt: number) => unknown> = {
  echo: (data) => data,
  reject: () => reject("no", { cause: new Error("reasons") }),
  retry: (_, attempt) => (attempt === 1 ? retry("again", { after: 10.5 }) : { attempt }),
  throw: () => deep(3),
  caused: () => {
    throw new Error("outer", { cause: new RangeError("inner") });
  },
  refused: () => emit({ to: "forbidden", kind: "X" }),
  ignored: () => {
    try {
      emit({ to: "forbidden", kind: "X" });
    } catch (error) {
      return error instanceof EmitError && [error.code, error.message];
    }
  },
  state: () => {
    state.put("a", "1");
    const set = [state.compareAndSet("b", undefined, "2"), state.compareAndSet("b", "1", undefined)];
    const count = state.update<number>("n", (n = 40) => n + 2);
    state.delete("a");
    return { set, count, a: state.getJson("a") ?? "none", keys: [...state.keys("")] };
  },
  unavailable: () => {
    try {
      state.get("unavailable");
    } catch (error) {
      return error instanceof StateError && [error.code, error.message];
    }
  },
  config: () => [config.number("limit", 1), config.get("nothing") ?? "none", config.keys()],
  host: () => [host.now(), host.stableId("x"), host.timeLeft(), host.random(3).length],
  console: () => {
    console.log("%s has %d of %j%%", "a", "7", { b: 1 }, [2], new RangeError("r"), undefined, "ä");
    console.warn({ w: 1 });
    console.error(new Error("e"));
    console.assert(1 > 2, "sums");
    console.debug("d");
    log.info("field", { number: 1, text: "ü" });
  },
  texts: ({ text }) => {
    const bytes = new TextEncoder().encode(text);
    const marked = Uint8Array.of(0xef, 0xbb, 0xbf, 0x41, 0xff);
    return [bytes.length, new TextDecoder().decode(bytes), new TextDecoder().decode(marked)];
  },
  random: () => {
    const numbers = [Math.random(), Math.random()];
    return { numbers, frozen, uuid: crypto.randomUUID(), bytes: [...crypto.getRandomValues(new Uint8Array(4))] };
  },
  surrogates: () => emit({ to: "answers", kind: "X\ud800", data: "\udc00" }),
};
