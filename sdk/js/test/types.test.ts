// What TypeScript makes of the SDK: this file is checked, and what is marked must be a mistake.

import { test } from "node:test";

import { config, emit, handler, log, projection, readModel, reject, state, type Event, type Schema } from "@tidemill/sdk";

interface Created {
  total: number;
}

interface Shipped {
  carrier: string;
}

type ShopEvent = Event<Created, "OrderCreated"> | Event<Shipped, "OrderShipped">;

declare const Order: Schema<Created>;

void function neverCalled() {
  handler<Created>((event) => log.info("total", { total: event.data.total.toFixed(2) }));
  // Inferred from the annotation, from the schema, and from the kind.
  handler((event: Event<Created>) => void event.data.total);
  handler(Order, (event) => void event.data.total);
  handler((event: ShopEvent) => {
    if (event.kind === "OrderShipped") return void event.data.carrier;
    event.data.total.toFixed(2);
    // @ts-expect-error an order that was created has no carrier
    event.data.carrier;
  });
  projection((event: ShopEvent) => readModel.put("orders", event.id, {}), { count: () => 1 });
  projection(Order, (event) => readModel.put("orders", event.id, event.data), { count: () => 1 });

  // @ts-expect-error nobody would wait
  handler(async () => {});
  // @ts-expect-error nobody would wait
  projection(async () => {});
  // @ts-expect-error what is unknown has to be looked at first
  handler((event) => void event.data.total);

  const limit: number = config.number("limit", 1);
  // @ts-expect-error without something in its stead it may not be there
  const other: number = config.number("limit");
  const list: string[] = config.json("countries", [] as string[]);
  const seen: number = state.update<number>("seen", (seen = 0) => seen + 1);
  const carrier = state.getJson<Shipped>("carrier")?.carrier;

  // @ts-expect-error an emit has a type
  emit({ to: "x" });
  // @ts-expect-error bytes have a content type
  emit({ to: "x", kind: "X", bytes: "x" });
  // @ts-expect-error either the one or the other
  emit({ to: "x", kind: "X", data: 1, bytes: "x", datacontenttype: "text/plain" });

  const some = [limit, other, list, seen, carrier].find((it) => it !== undefined);
  if (some === undefined) reject("nothing");
  // After `reject` it is known that this is something.
  some.toString();
};

test("the types are checked by `npm run check`", () => {});
