import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "@tidemill/sdk/testing";

import payments from "./index.js";

function requested(changes = {}) {
  const items = [
    { sku: "A-1", quantity: 2, unit_price: 1000 },
    { sku: "B-2", quantity: 1, unit_price: 500 },
  ];
  return { kind: "PaymentRequested", data: { payment_id: "p-1", account: "a-1", amount: 2500, items, ...changes } };
}

test("payments of an account add up", () => {
  const harness = new Harness(payments, { emits: ["payments.recorded", "receipts.issued"] });
  harness.handle(requested()).assertDone();
  const run = harness.handle(requested({ payment_id: "p-2" }));
  assert.equal(run.stateJson("balance/a-1"), 5000);
  assert.deepEqual(run.emitted("PaymentRecorded").data, { payment_id: "p-2", account: "a-1", balance: 5000 });
  assert.equal(run.emitted("PaymentRecorded").subject, "a-1");
  assert.deepEqual(run.emitted("ReceiptIssued").data, { payment_id: "p-2", lines: 2, amount: 2500 });
  assert.deepEqual(run.emitted("ReceiptIssued").extensions, { lines: "2" });
  assert(run.logged("info", "recorded a payment"));
});

test("what cannot be recorded is rejected", () => {
  const handle = (changes) => new Harness(payments).handle(requested(changes));
  handle({ amount: 1 }).assertRejected("the amount is 1, the items add up to 2500");
  handle({ amount: 200_000, items: [{ sku: "C", quantity: 2, unit_price: 100_000 }] }).assertRejected("200000 is above the limit of 100000");
  for (const data of [null, 7, {}, { payment_id: "p-1", account: "a-1", amount: "much", items: [] }]) {
    new Harness(payments).handle({ kind: "PaymentRequested", data }).assertRejected("it is no payment");
  }
});

test("trouble is what it should be", () => {
  const handle = (trouble, attempt) => new Harness(payments).handle(requested({ trouble }), { attempt });
  handle("retry", 1).assertRetry("asked to be tried again");
  handle("retry", 2).assertDone();
  handle("throw", 1).assertThrew("boom");
});
