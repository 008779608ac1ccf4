// A schema is anything that keeps to https://standardschema.dev.

import assert from "node:assert/strict";
import { test } from "node:test";

import { emit, handler, projection, readModel, type Issue, type Schema } from "@tidemill/sdk";
import { Harness, ProjectionHarness } from "@tidemill/sdk/testing";

interface Order {
  id: string;
  items: { price: number }[];
}

/** As a library would make it, by hand. Numbers in texts become numbers. */
const Order: Schema<Order> = {
  "~standard": {
    validate(value) {
      const { id, items } = Object(value) as Partial<Order>;
      const issues: Issue[] = [];
      if (typeof id !== "string") issues.push({ message: "expected a text", path: ["id"] });
      const prices = (items ?? []).map((item, at) => {
        if (Number.isNaN(Number(item.price))) issues.push({ message: "expected a number", path: ["items", { key: at }, "a/b"] });
        return { price: Number(item.price) };
      });
      return issues.length > 0 ? { issues } : { value: { id: id!, items: prices } };
    },
  },
};

const total = handler(Order, (event) => {
  emit({ to: "totals", kind: "Totalled", data: event.data.items.reduce((sum, { price }) => sum + price, 0) });
});

test("the data is what the schema makes of it", () => {
  const run = new Harness(total).handle({ kind: "Order", data: { id: "o-1", items: [{ price: "1.5" }, { price: 2 }] } });
  assert.equal(run.emitted("Totalled").data, 3.5);
});

test("data that does not fit is rejected with the places, before the handler is called", () => {
  let called = false;
  const calls = handler(Order, () => void (called = true));
  const run = new Harness(calls).handle({ kind: "Order", data: { items: [{ price: "much" }] } });
  assert.deepEqual(run.outcome, {
    type: "rejected",
    reason: "the event's data does not fit: `/id`: expected a text; `/items/0/a~1b`: expected a number",
  });
  assert.equal(called, false);
});

test("a schema that validates asynchronously is a mistake", () => {
  const schema: Schema = { "~standard": { validate: async (value) => ({ value }) } };
  new Harness(handler(schema, () => {})).handle({ kind: "Any", data: 1 }).assertThrew("the schema validates asynchronously");
});

test("a projection takes a schema, too, even one that is a function", () => {
  const callable = Object.assign(() => {}, Order);
  const view = projection(callable, (event) => readModel.put("orders", event.data.id, { items: event.data.items.length }), {
    count: () => 7,
  });
  const harness = new ProjectionHarness(view, { collections: { orders: [] } });
  assert.deepEqual(harness.apply({ kind: "Order", data: { id: "o-1", items: [] } }).document("orders", "o-1"), { items: 0 });
  harness.apply({ kind: "Order", data: {} }).assertRejected("`/id`: expected a text");
  assert.equal(harness.query("count"), 7);
});
