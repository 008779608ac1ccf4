import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "@tidemill/sdk/testing";

import customerValidator from "./index.ts";

function register(email: string, age: number, country: string) {
  const harness = new Harness(customerValidator, {
    config: { countries: ["US", "DE"], blocked_domains: ["mailinator.example"] },
    emits: ["customers.validated", "customers.validation-failed"],
  });
  return harness.handle({ kind: "CustomerRegistered", data: { customer_id: "c-1", name: "Ada", email, age, country } });
}

test("a good customer is validated", () => {
  const validated = register("ada@example.com", 36, "DE").emitted("CustomerValidated");
  assert.deepEqual(validated.data, { customer_id: "c-1", name: "Ada", email: "ada@example.com", country: "DE" });
  assert.equal(validated.subject, "c-1");
});

test("every broken rule is reported", () => {
  const run = register("ada@Mailinator.example", 17, "AQ");
  assert.deepEqual(run.emitted("CustomerValidationFailed").data.reasons, [
    { field: "email", problem: "addresses at mailinator.example are not accepted" },
    { field: "age", problem: "must be at least 18, is 17" },
    { field: "country", problem: "the shop does not deliver to AQ" },
  ]);
  assert.equal(run.emits.length, 1);
  assert(run.logged("info", "refused a customer"));
});

test("without settings every country and domain will do, from 18 on", () => {
  const data = { customer_id: "c-1", name: "Ada", email: "ada@mailinator.example", age: 18, country: "AQ" };
  new Harness(customerValidator).handle({ kind: "CustomerRegistered", data }).emitted("CustomerValidated");
});
