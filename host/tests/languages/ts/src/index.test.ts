import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "@tidemill/sdk/testing";

import payments, { type Payment } from "./index.ts";

const EMITS = ["payments.>", "receipts.>"];

function requested(changes: Partial<Payment> = {}) {
  const items = [
    { sku: "A-1", quantity: 2, unit_price: 1000 },
    { sku: "B-2", quantity: 1, unit_price: 500 },
  ];
  return { kind: "PaymentRequested", data: { payment_id: "p-1", account: "a-1", amount: 2500, items, ...changes } };
}

test("a payment is added to the balance, recorded, and a receipt is issued", () => {
  const run = new Harness(payments, { emits: EMITS, state: { "balance/a-1": 500 } }).handle(requested());
  run.assertDone();
  assert.equal(run.stateJson("balance/a-1"), 3000);
  const [recorded, issued] = run.emits;
  assert.deepEqual([recorded?.to, recorded?.kind, recorded?.subject], ["payments.recorded", "PaymentRecorded", "a-1"]);
  assert.deepEqual(recorded?.data, { payment_id: "p-1", account: "a-1", balance: 3000 });
  assert.deepEqual([issued?.to, issued?.kind, issued?.extensions], ["receipts.issued", "ReceiptIssued", { lines: "2" }]);
  assert.deepEqual(issued?.data, { payment_id: "p-1", lines: 2, amount: 2500 });
  assert.deepEqual(run.logs, [{ level: "info", message: "recorded a payment", fields: { payment_id: "p-1", balance: "3000" } }]);
});

test("a payment that does not add up, or is too large, or is none is rejected", () => {
  const harness = new Harness(payments, { config: { limit: 2000 } });
  harness.handle(requested({ amount: 2501 })).assertRejected("the amount is 2501, the items add up to 2500");
  harness.handle(requested()).assertRejected("2500 is above the limit of 2000");
  harness.handle({ kind: "PaymentRequested", bytes: '{"payment_id":' }).assertRejected("the event's data is not JSON");
  harness.handle({ kind: "PaymentRequested", data: { payment_id: 1 } }).assertRejected("it is no payment");
});

test("a retry is asked for once, and what is thrown leaves nothing behind", () => {
  const harness = new Harness(payments);
  const first = harness.handle(requested({ trouble: "retry" }));
  assert.deepEqual(first.outcome, { type: "retry", reason: "asked to be tried again", after: 10 });
  harness.handle(requested({ trouble: "retry" }), { attempt: 2 }).assertDone();
  const thrown = harness.handle(requested({ trouble: "throw" }));
  thrown.assertThrew("boom");
  assert.equal(thrown.stateJson("balance/a-1"), 2500);
});
