// The harness of a projection keeps the host's promises about documents.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ReadModelError, Reject, emit, host, projection, readModel, reject, state } from "@tidemill/sdk";
import { ProjectionHarness } from "@tidemill/sdk/testing";

interface Account {
  spent: number;
  country: string;
}

/** A projection that keeps what customers have spent, in a way that the event names. */
const ledger = projection<{ customer: string; amount: number }>(
  (event) => {
    const { customer, amount } = event.data;
    readModel.update<Account>("accounts", customer, (account = { spent: 0, country: "DE" }) => ({
      ...account,
      spent: account.spent + amount,
    }));
    switch (event.kind) {
      case "Spent":
        return;
      case "SpentElsewhere":
        try {
          readModel.put("elsewhere", customer, {});
        } catch {
          return;
        }
      case "SpentInCash":
        reject("cash is not counted");
      case "SpentAndTold":
        return emit({ to: "spent.told", kind: "Told" });
      case "SpentAndKept":
        return state.put("spent", "1");
      default:
        throw new Error(`on ${event.kind}`);
    }
  },
  {
    spent({ country }: { country: string }) {
      let spent = 0;
      for (const { body } of readModel.find<Account>("accounts", "country", country)) spent += body.spent;
      return spent;
    },
    reset() {
      readModel.delete("accounts", "c-1");
    },
    id: () => host.stableId("answer"),
    nothing: () => undefined,
    strange: () => 1n,
    later: async () => 1,
  },
);

function spent(kind: string, customer: string, amount: number) {
  return { kind, data: { customer, amount } };
}

function harness(options = {}) {
  return new ProjectionHarness(ledger, {
    collections: { accounts: ["country"] },
    documents: { accounts: { "c-1": { spent: 10, country: "FR" } } },
    ...options,
  });
}

/** Runs `body` where a projection's body runs, with the collection `things`, indexed by `kind` and `place.city`. */
function inside(body: () => void): void {
  const run = new ProjectionHarness(projection(body), { collections: { things: ["kind", "place.city"] } }).apply({ kind: "Any" });
  if (run.outcome.type === "threw") throw run.outcome.error;
}

test("documents of a folded event stay", () => {
  const accounts = harness();
  accounts.apply(spent("Spent", "c-1", 5)).assertDone();
  const run = accounts.apply(spent("Spent", "c-2", 7));
  assert.deepEqual(run.document("accounts", "c-1"), { spent: 15, country: "FR" });
  assert.deepEqual(run.document("accounts", "c-2"), { spent: 7, country: "DE" });
  run.assertKeys("accounts", ["c-1", "c-2"]);
  assert.equal(run.document("accounts", "c-3"), undefined);
  assert.throws(() => run.document("account", "c-1"), /there is no collection "account"/);
});

test("documents of a failed event vanish", () => {
  const accounts = harness();
  const rejected = accounts.apply(spent("SpentInCash", "c-2", 5));
  rejected.assertRejected("cash is not counted");
  rejected.assertKeys("accounts", ["c-1"]);
  const thrown = accounts.apply(spent("SpentInSecret", "c-2", 5));
  thrown.assertThrew("on SpentInSecret");
  thrown.assertKeys("accounts", ["c-1"]);
});

test("a refused write fails the event even if it is ignored", () => {
  const run = harness().apply(spent("SpentElsewhere", "c-1", 5));
  run.assertRefused("`projections[].collections.elsewhere` in runtime.yaml would declare it");
  assert.equal(run.document("accounts", "c-1").spent, 10);
});

test("what a projection may not import throws", () => {
  harness().apply(spent("SpentAndTold", "c-1", 5)).assertThrew("a projection emits nothing");
  harness().apply(spent("SpentAndKept", "c-1", 5)).assertThrew("a projection has no state");
});

test("questions are answered from the documents", () => {
  const accounts = harness();
  for (const [customer, amount] of [["c-2", 1], ["c-3", 2], ["c-1", 4]] as const) {
    accounts.apply(spent("Spent", customer, amount)).assertDone();
  }
  assert.equal(accounts.query("spent", { country: "DE" }), 3);
  assert.equal(accounts.query("spent", { country: "FR" }), 14);
  assert.equal(accounts.query("spent", { country: "JP" }), 0);
  assert.equal(accounts.query("nothing"), null);
});

test("questions that nobody can answer are rejected", () => {
  assert.throws(() => harness().query("earned"), (error) => error instanceof Reject && error.reason === "there is no query `earned`");
  assert.throws(() => harness().query("toString"), /there is no query `toString`/);
  assert.throws(() => harness().query("strange"), /BigInt/);
  assert.throws(() => harness().query("later"), /asynchronous/);
});

test("a question that writes is refused and has no event", () => {
  assert.throws(() => harness().query("reset"), /a query reads documents and writes none/);
  assert.throws(() => harness().query("id"), /a query has no event/);
  assert.equal(harness().query("spent", { country: "FR" }), 10, "the harness is free again");
});

test("documents are found page by page in the order of their keys", () => {
  inside(() => {
    for (let number = 0; number < 250; number++) {
      const kind = number % 2 === 0 ? 1 : "odd";
      readModel.put("things", `t-${String(number).padStart(3, "0")}`, { kind, place: { city: `c${number % 3}` } });
    }
    const keys = (field: string, value: unknown) => [...readModel.find("things", field, value)].map(({ key }) => key);
    const even = keys("kind", 1);
    assert.deepEqual([even.length, even[0], even[124]], [125, "t-000", "t-248"]);
    assert.equal(keys("place.city", "c2").length, 83);
    assert.deepEqual(keys("kind", null), []);
    const { value: first } = readModel.find<{ place: { city: string } }>("things", "kind", "odd").next();
    assert.deepEqual([first?.key, first?.body.place.city], ["t-001", "c1"]);
  });
});

test("read model errors say what is wrong", () => {
  const code = (code: ReadModelError["code"]) => (error: unknown) => error instanceof ReadModelError && error.code === code;
  inside(() => {
    assert.throws(() => readModel.get("thing", "t"), code("no-collection"));
    assert.throws(() => readModel.get("things", ""), code("invalid"));
    assert.throws(() => readModel.find("things", "color", "red").next(), code("no-index"));
  });
  for (const [document, expected] of [
    [[1], "expected a JSON object, found [1]"],
    [7, "expected a JSON object, found 7"],
    [{ kind: "x".repeat(513) }, "its indexed field `kind` holds a text of 513 bytes"],
    [{ note: "x".repeat(600_000) }, "the limit `document`"],
    [{ big: 1n }, "the document `t` of the collection `things`: TypeError: "],
  ] as const) {
    inside(() => assert.throws(() => readModel.put("things", "t", document as object), (error: Error) => error.message.includes(expected)));
  }
});

test("an unreachable store is an error that the host knows", () => {
  harness({ unavailable: true }).apply(spent("Spent", "c-1", 5)).assertThrew("the read model is unavailable");
});

test("a projection is no handler", () => {
  assert.throws(() => new ProjectionHarness({ role: "handler" } as never), /expected what `projection` made/);
  assert.throws(() => projection(undefined as never), /`projection` takes a function/);
});
