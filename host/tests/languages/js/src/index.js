// Records payments: the handler that is written in every language, so that one test can compare what they do.

import { config, emit, handler, log, reject, retry, state } from "@tidemill/sdk";

/**
 * Amounts and prices are cents.
 *
 * @typedef {{ payment_id: string, account: string, amount: number, items: Item[], trouble?: string }} Payment
 * @typedef {{ sku: string, quantity: number, unit_price: number }} Item
 */

export default handler((event, context) => {
  const payment = parse(event.data);
  const { payment_id, account, amount, items } = payment;
  let sum = 0;
  for (const { quantity, unit_price } of items) sum += quantity * unit_price;
  if (sum !== amount) reject(`the amount is ${amount}, the items add up to ${sum}`);
  const limit = config.number("limit", 100_000);
  if (amount > limit) reject(`${amount} is above the limit of ${limit}`);
  if (payment.trouble) cause(payment.trouble, context.attempt);

  const balance = state.update(`balance/${account}`, (/** @type {number | undefined} */ before) => (before ?? 0) + amount);
  emit({ to: "payments.recorded", kind: "PaymentRecorded", subject: account, data: { payment_id, account, balance } });
  emit({
    to: "receipts.issued",
    kind: "ReceiptIssued",
    extensions: { lines: String(items.length) },
    data: { payment_id, lines: items.length, amount },
  });
  log.info("recorded a payment", { payment_id, balance });
});

/**
 * What the test wants to go wrong.
 *
 * @param {string} trouble
 * @param {number} attempt
 */
function cause(trouble, attempt) {
  switch (trouble) {
    case "retry":
      if (attempt === 1) retry("asked to be tried again", { after: 10 });
      break;
    case "throw":
      throw new Error("boom");
    case "spin":
      for (;;);
    case "memory":
      for (const kept = []; ; ) kept.push(new Uint8Array(1024 * 1024).fill(1));
  }
}

/**
 * The data, if it is a payment.
 *
 * @param {unknown} data
 * @returns {Payment}
 */
function parse(data) {
  const payment = /** @type {Payment} */ (Object(data));
  const isPayment =
    typeof payment.payment_id === "string" &&
    typeof payment.account === "string" &&
    Number.isInteger(payment.amount) &&
    Array.isArray(payment.items) &&
    payment.items.every((item) => Number.isInteger(item?.quantity) && Number.isInteger(item.unit_price));
  if (!isPayment) reject("the event's data does not fit: it is no payment");
  return payment;
}
