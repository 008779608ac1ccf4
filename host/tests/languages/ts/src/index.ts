// Records payments: the handler that is written in every language, so that one test can compare what they do.

import { config, emit, handler, log, reject, retry, state } from "@tidemill/sdk";

import { trouble } from "./trouble.ts";

export interface Payment {
  payment_id: string;
  account: string;
  /** Cents. */
  amount: number;
  items: Item[];
  /** What the test wants to go wrong. */
  trouble?: string;
}

export interface Item {
  sku: string;
  quantity: number;
  /** Cents. */
  unit_price: number;
}

export default handler((event, context) => {
  const payment = read(event.data);
  const { payment_id, account, amount, items } = payment;
  const sum = items.reduce((sum, { quantity, unit_price }) => sum + quantity * unit_price, 0);
  if (sum !== amount) reject(`the amount is ${amount}, the items add up to ${sum}`);
  const limit = config.number("limit", 100_000);
  if (amount > limit) reject(`${amount} is above the limit of ${limit}`);
  if (payment.trouble === "retry" && context.attempt === 1) retry("asked to be tried again", { after: 10 });
  trouble(payment.trouble);

  const balance = state.update<number>(`balance/${account}`, (balance = 0) => balance + amount);
  emit({ to: "payments.recorded", kind: "PaymentRecorded", subject: account, data: { payment_id, account, balance } });
  const lines = items.length;
  emit({ to: "receipts.issued", kind: "ReceiptIssued", extensions: { lines: String(lines) }, data: { payment_id, lines, amount } });
  log.info("recorded a payment", { payment_id, balance });
});

/** The data, if it is a payment. A plugin with more of this takes a schema instead: `handler(Payment, (event) => …)`. */
function read(data: unknown): Payment {
  const { payment_id, account, amount, items } = (data ?? {}) as Partial<Payment>;
  const isPayment = typeof payment_id === "string" && typeof account === "string" && Number.isInteger(amount) && Array.isArray(items);
  if (!isPayment || !items.every(isItem)) reject("the event's data does not fit: it is no payment");
  return data as Payment;
}

function isItem(item: Partial<Item> | null): boolean {
  return typeof item?.sku === "string" && Number.isInteger(item.quantity) && Number.isInteger(item.unit_price);
}
