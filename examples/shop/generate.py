#!/usr/bin/env python3
"""Writes the shop's events and what must come of them.

    examples/shop/generate.py            writes events.jsonl, expected.json and the tables in README.md
    examples/shop/generate.py --check    fails if the committed files are not what this script writes

The output is the same on every machine and in every version of Python: only `random()` of a seeded generator is used.
Expectations come from a model of the routes and projections in `runtime.yaml`, at the end of this file, not from a run of
Tidemill.
"""

import json
import pathlib
import random
import sys
from collections import Counter
from datetime import datetime, timedelta

HERE = pathlib.Path(__file__).resolve().parent
SCHEMAS = "https://shop.example/schemas"
START = datetime(2026, 1, 5, 8, 0, 0)

PRODUCTS = [  # sku, price in cents, grams
    ("MUG-001", 1290, 380), ("TEA-014", 845, 120), ("BOK-207", 2499, 640), ("LMP-033", 5900, 1800),
    ("CHR-009", 14900, 9200), ("HDP-118", 19995, 410), ("CAM-042", 64900, 720), ("LAP-500", 129900, 2100),
    ("BIK-700", 249900, 21500),
]
COUNTRIES = ["US", "US", "US", "US", "US", "US", "DE", "GB", "FR", "CA", "JP"]
CURRENCIES = {"DE": "EUR", "FR": "EUR", "GB": "GBP"}
FIRST = ["Ada", "Alan", "Barbara", "Chinua", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Katherine", "Linus", "Margaret",
         "Niklaus", "Radia", "Sofia", "Toshio", "Zoë"]
LAST = ["Allen", "Björk", "Hamilton", "Hopper", "Johnson", "Knuth", "Lamarr", "Liskov", "Lovelace", "Okafor", "Perlman",
        "Sato", "Turing", "Wirth"]

dice = random.Random(20260105)


def number(low, high):
    return low + int(dice.random() * (high - low + 1))


def pick(options):
    return options[number(0, len(options) - 1)]


def chance(probability):
    return dice.random() < probability


def stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- lines ---------------------------------------------------------------------------------------------------------------
# A line is what is published, and `fate`, which is what the host must say about it before any filter is asked: `valid`,
# `malformed`, `invalid`, `schema-missing`, or `duplicate` of an event that is stored already.


def event(subject, kind, ident, source, time, about, data, fate="valid", dataschema=None, **extensions):
    body = {"specversion": "1.0", "id": ident, "source": source, "type": kind, "time": stamp(time), "subject": about,
            "datacontenttype": "application/json"}
    if dataschema:
        body["dataschema"] = f"{SCHEMAS}/{kind}/{dataschema}"
    body |= extensions | {"data": data}
    return {"time": time, "fate": fate, "kind": kind, "data": data, "line": {"subject": subject, "event": body}}


def raw(subject, time, payload, headers=None):
    line = {"subject": subject, "payload": payload}
    if headers:
        line["headers"] = headers
    return {"time": time, "fate": "malformed", "kind": None, "data": None, "line": line}


def binary(line):
    """The same event in binary mode: attributes in headers, the payload is the data."""
    body = line["line"]["event"]
    headers = {f"ce-{name}": value for name, value in body.items() if name not in ("data", "datacontenttype")}
    headers["content-type"] = body["datacontenttype"]
    return line | {"line": {"subject": line["line"]["subject"], "payload": compact(body["data"]), "headers": headers}}


# --- customers -----------------------------------------------------------------------------------------------------------


def customers():
    lines = []
    for n in range(1, 61):
        name = f"{pick(FIRST)} {pick(LAST)}"
        data = {"customer_id": f"c-{n:04}", "name": name, "email": f"{name.split()[0].lower().replace('ë', 'e')}.{n}@example.com",
                "age": number(18, 79), "country": pick(COUNTRIES), "newsletter": chance(0.4)}
        data |= CUSTOMER_CASES.get(n, {})
        lines.append(registered(n, data))
    return lines


# What breaks a rule of the shop, and addresses that are taken already, in another spelling.
CUSTOMER_CASES = {
    7: {"age": 17}, 19: {"age": 12}, 33: {"age": 16},
    11: {"email": "throwaway@mailinator.example"}, 42: {"email": "x9@trashmail.example"},
    23: {"country": "AQ"}, 51: {"country": "KP"},
    58: {"email": "kid@mailinator.example", "age": 9, "country": "AQ"},
    20: {"email": "First@Example.com"}, 14: {"email": "first@example.com"}, 45: {"email": "FIRST@example.com"},
}


def registered(n, data, fate="valid", ident=None):
    time = START + timedelta(minutes=4 * n)
    return event("customers.registered", "CustomerRegistered", ident or f"registered-{n:04}", "/shop/registration", time,
                 data.get("customer_id", "unknown"), data, fate)


# --- orders --------------------------------------------------------------------------------------------------------------


def orders():
    lines = []
    for n in range(1, 201):
        order = new_order(n)
        created, country, currency = order["line"], order["country"], order["currency"]
        lines.append(created)
        if chance(0.12):
            lines.append(cancelled(n, created, currency))
        elif chance(0.6):
            shipment = shipped(n, created, country, currency, order["grams"])
            lines.append(binary(shipment) if n % 20 == 0 else shipment)
    return lines


def new_order(n, fate="valid", version=None, ident=None, **changes):
    country = pick(COUNTRIES)
    version = version or pick([1, 2, 2, 2])
    basket = [(pick(PRODUCTS[:6]) if chance(0.92) else pick(PRODUCTS[6:]), number(1, 3)) for _ in range(number(1, 3))]
    cents = sum(price * quantity for (_, price, _), quantity in basket)
    time = START + timedelta(minutes=300 + 3 * n)
    items = [{"sku": sku, "quantity": quantity, "unit_price": price / 100} for (sku, price, _), quantity in basket]
    data = {"order_id": f"o-{n:05}", "customer_id": f"c-{number(1, 60):04}", "total": cents / 100, "items": items}
    currency = "USD"
    if version == 1:
        data["country"] = country
    else:
        currency = CURRENCIES.get(country, "USD")
        data |= {"currency": currency, "shipping": {"country": country, "method": pick(["standard", "standard", "express"])},
                 "placed_at": stamp(time)}
    data |= changes
    # An event of version 2, the newest, need not name its schema.
    named = version if version == 1 or chance(0.5) else None
    line = event("orders.created", "OrderCreated", ident or f"created-{n:05}", "/shop/web", time, data["order_id"], data, fate,
                 dataschema=named, correlationid=f"cart-{number(100000, 999999)}")
    grams = sum(grams * quantity for (_, _, grams), quantity in basket)
    return {"line": line, "country": country, "currency": currency, "grams": grams}


def shipped(n, created, country, currency, grams, fate="valid", ident=None, **changes):
    order = created["data"]
    time = created["time"] + timedelta(hours=number(1, 9), minutes=number(0, 59))
    tracking = "".join(pick("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789") for _ in range(12))
    data = {"order_id": order["order_id"], "customer_id": order["customer_id"], "carrier": pick(["UPS", "FedEx", "DHL"]),
            "tracking_number": tracking, "destination": {"country": country, "postal_code": f"{number(10000, 99999)}"},
            "declared_value": order["total"], "currency": currency, "weight_grams": min(grams, 70000),
            "shipped_at": stamp(time)} | changes
    return event("orders.shipped", "OrderShipped", ident or f"shipped-{n:05}", "/shop/warehouse", time, data["order_id"], data,
                 fate, correlationid=created["line"]["event"]["correlationid"])


def cancelled(n, created, currency):
    order = created["data"]
    time = created["time"] + timedelta(minutes=number(5, 240))
    reason = pick(["customer-request", "customer-request", "out-of-stock", "payment-failed"])
    data = {"order_id": order["order_id"], "customer_id": order["customer_id"], "reason": reason,
            "refund": 0 if reason == "payment-failed" else order["total"], "currency": currency}
    return event("orders.cancelled", "OrderCancelled", f"cancelled-{n:05}", "/shop/web", time, data["order_id"], data,
                 correlationid=created["line"]["event"]["correlationid"])


# --- what goes wrong -----------------------------------------------------------------------------------------------------

ONE_MUG = [{"sku": "MUG-001", "quantity": 1, "unit_price": 12.9}]


def misbehaving():
    """Sound events on which the payment plugin fails."""
    simple = {"items": ONE_MUG, "total": 12.9}
    return [
        new_order(301, **simple, note="poison", ident="poison-order")["line"],
        new_order(302, **simple, note="flaky", ident="flaky-order")["line"],
        new_order(303, items=ONE_MUG, total=21.9, ident="wrong-sum-order")["line"],
    ]


def invalid():
    """CloudEvents whose data does not match the schema of their type, or that have none."""

    def order(name, fate="invalid", version=2, drop=(), **changes):
        line = new_order(310 + len(lines), fate, version, ident=name, **changes)["line"]
        for member in drop:
            del line["data"][member]
        lines.append(line)

    lines = []
    order("negative-total", total=-5.0)
    order("missing-customer", drop=["customer_id"])
    order("total-as-text", total="12.90")
    order("no-items", items=[])
    order("unknown-currency", currency="DOGE")
    order("impossible-time", placed_at="2026-02-30T12:00:00Z")
    order("version-1-without-country", version=1, drop=["country"])
    order("unknown-schema-version", fate="schema-missing")
    lines[-1]["line"]["event"]["dataschema"] = f"{SCHEMAS}/OrderCreated/9"

    parcel = new_order(330)
    lines.append(shipped(330, parcel["line"], "US", "USD", 500, "invalid", "weight-as-fraction", weight_grams=500.5))
    lines.append(shipped(331, parcel["line"], "DE", "USD", 500, "invalid", "short-tracking-number", tracking_number="1Z"))

    lines.append(event("orders.returned", "OrderReturned", "returned-00012", "/shop/web", START + timedelta(hours=20), "o-00012",
                       {"order_id": "o-00012", "customer_id": "c-0003"}, "schema-missing"))

    person = {"customer_id": "c-0900", "name": "Nobody", "email": "nobody@example.com", "age": 30, "country": "US"}
    lines.append(registered(61, person | {"email": "not-an-address"}, "invalid", "bad-email"))
    lines.append(registered(62, person | {"age": -1}, "invalid", "negative-age"))
    lines.append(registered(63, {name: value for name, value in person.items() if name != "name"}, "invalid", "missing-name"))
    return lines


def malformed():
    """Messages that are no CloudEvent at all."""
    head = '"specversion":"1.0","source":"/shop/web","type":"OrderCreated"'
    structured = {"content-type": "application/cloudevents+json"}
    created = [
        ("this is not JSON", None),
        ('{"order_id":"o-00001","total":12.9}', None),
        ("[1,2,3]", structured),
        ('{%s,"id":"cut-off","data":{"order_id":"o-0' % head, structured),
        ('{%s,"data":{"order_id":"o-00340"}}' % head, structured),
        ('{%s,"id":"huge-number","data":{"order_id":"o-00341","total":1e400}}' % head, structured),
        ('{%s,"id":"key-twice","data":{"order_id":"o-00342","total":1,"total":100000}}' % head, structured),
        ('{%s,"id":"nesting-bomb","data":%s%s}' % (head, "[" * 5000, "]" * 5000), structured),
        ('{%s,"id":"bad-time","time":"yesterday, after lunch","data":{}}' % head, structured),
        ('{"specversion":"0.3","id":"old-version","source":"/shop/web","type":"OrderCreated","data":{}}', structured),
    ]
    lines = [raw("orders.created", START + timedelta(minutes=500 + 31 * n), *case) for n, case in enumerate(created)]
    headers = {"ce-specversion": "1.0", "ce-id": "no-source", "ce-type": "CustomerRegistered", "content-type": "application/json"}
    lines.append(raw("customers.registered", START + timedelta(minutes=333), '{"customer_id":"c-0901"}', headers))
    lines.append(raw("customers.registered", START + timedelta(minutes=334), "<customer><name>Nobody</name></customer>"))
    return lines


def duplicates(lines):
    """Two events that their producers send a second time, a while later."""
    by_id = {line["line"]["event"]["id"]: line for line in lines if "event" in line["line"]}
    again = [by_id["created-00017"], by_id["registered-0005"]]
    return [line | {"fate": "duplicate", "time": line["time"] + timedelta(minutes=9)} for line in again]


def all_lines():
    lines = customers() + orders() + misbehaving() + invalid() + malformed()
    lines += duplicates(lines)
    return sorted(lines, key=lambda line: line["time"])


# --- the model: what the routes of runtime.yaml make of the lines --------------------------------------------------------

MAX_ATTEMPTS = 5
DELIVERED_TO = {"US", "CA", "DE", "FR", "GB", "JP"}
BLOCKED = {"mailinator.example", "trashmail.example"}


def fraud_detection(kind, data, state):
    return [("fraud.checked", "FraudChecked", {})]


def customs(kind, data, state):
    return [("customs.requested", "CustomsRequested", {})]


def analytics(kind, data, state):
    def add(key, amount):
        state[key] = state.get(key, 0) + amount

    add(f"count/{kind}", 1)
    currency = data.get("currency", "USD")
    if kind == "OrderCreated":
        add(f"country/{data['shipping']['country'] if 'shipping' in data else data['country']}", 1)
        add(f"revenue/{currency}", round(data["total"] * 100))
    if kind == "OrderCancelled":
        add(f"revenue/{currency}", -round(data["refund"] * 100))
    return []


def payments(kind, data, state):
    if data.get("note") == "poison":
        return "trap"
    if sum(round(item["unit_price"] * 100) * item["quantity"] for item in data["items"]) != round(data["total"] * 100):
        return "rejected"
    paid = {"order_id": data["order_id"], "customer_id": data["customer_id"], "amount": data["total"]}
    return [("payments.captured", "PaymentCaptured", paid)]


def customer_validation(kind, data, state):
    good = data["age"] >= 18 and data["country"] in DELIVERED_TO and data["email"].split("@")[1] not in BLOCKED
    return [("customers.validated", "CustomerValidated", data)] if good else [
        ("customers.validation-failed", "CustomerValidationFailed", data)]


def account_creation(kind, data, state):
    key = f"email/{data['email'].lower()}"
    if state.setdefault(key, data["customer_id"]) == data["customer_id"]:
        return [("accounts.created", "AccountCreated", data)]
    return [("accounts.rejected", "AccountRejected", data)]


def welcome_mail(kind, data, state):
    return [("mails.sent", "WelcomeMailSent", {})]


def always(kind, data):
    return True


ROUTES = {  # name: subject or prefix, filter, handler
    "fraud-detection": ("orders.created", lambda kind, data: kind == "OrderCreated" and data["total"] >= 1000, fraud_detection),
    "customs": ("orders.shipped", lambda kind, data: data["destination"]["country"] != "US", customs),
    "analytics": ("orders.", always, analytics),
    "payments": ("orders.created", lambda kind, data: kind == "OrderCreated", payments),
    "customer-validation": ("customers.registered", always, customer_validation),
    "account-creation": ("customers.validated", always, account_creation),
    "welcome-mail": ("accounts.created", always, welcome_mail),
}


# What a projection keeps of each order and each registration: how far it has come, and no event takes that back.
ORDER_STEPS = {"OrderCreated": "pending", "PaymentCaptured": "paid", "OrderShipped": "shipped", "OrderCancelled": "cancelled"}
REGISTRATION_STEPS = {"CustomerRegistered": "received", "CustomerValidated": "validated", "CustomerValidationFailed": "rejected",
                      "AccountCreated": "account-created", "AccountRejected": "rejected", "WelcomeMailSent": "welcomed"}
STANDING = {"received": "registered", "validated": "registered", "rejected": "rejected", "account-created": "active"}
ORDER_OF_STEPS = ["pending", "paid", "shipped", "cancelled", "received", "validated", "registered", "rejected",
                  "account-created", "active", "welcomed"]


def reach(documents, key, step):
    documents[key] = max(documents.get(key, step), step, key=ORDER_OF_STEPS.index)


def orders_view(folded):
    orders, created = {}, {}
    for kind, data, _ in folded:
        reach(orders, data["order_id"], ORDER_STEPS[kind])
        if kind == "OrderCreated":
            created[data["order_id"]] = data
    spent, customers = Counter(), Counter(data["customer_id"] for data in created.values())
    for order, data in created.items():
        spent[data.get("currency", "USD")] += 0 if orders[order] == "cancelled" else round(data["total"] * 100)
    return {
        "documents": {"customer-totals": len(customers), "orders": len(orders)},
        "by_status": {"orders": dict(sorted(Counter(orders.values()).items()))},
        "spent_cents": dict(sorted(spent.items())),
    }


def customers_view(folded):
    registrations, customers = {}, {}
    for kind, data, correlation in folded:
        step = REGISTRATION_STEPS[kind]
        reach(registrations, correlation, step)
        if step in STANDING:
            reach(customers, data["customer_id"], STANDING[step])
    return {
        "documents": {"customers": len(customers), "registrations": len(registrations)},
        "by_status": {"customers": dict(sorted(Counter(customers.values()).items())),
                      "registrations": dict(sorted(Counter(registrations.values()).items()))},
    }


PROJECTIONS = {  # name: the first part of the subjects of its streams, documents
    "orders": (["orders", "payments"], orders_view),
    "customers": (["customers", "accounts", "mails"], customers_view),
}


def correlation(line):
    body = line["line"].get("event", {})
    return body.get("correlationid", body.get("id"))


def expected(lines):
    routes = {name: Counter() for name in ROUTES}
    reasons = {name: Counter() for name in ROUTES}
    states = {name: {} for name in ROUTES}
    emits = Counter()
    stored = [line for line in lines if line["fate"] != "duplicate"]
    queue = [(line["line"]["subject"], line["fate"], line["kind"], line["data"], correlation(line)) for line in stored]
    for subject, fate, kind, data, correlated in queue:  # grows while it is walked through: emits are events, too
        for name, (wanted, admits, handle) in ROUTES.items():
            if subject != wanted and not (wanted.endswith(".") and subject.startswith(wanted)):
                continue
            count = routes[name]
            count["received"] += 1
            outcome = fate if fate != "valid" else handle(kind, data, states[name]) if admits(kind, data) else "skipped"
            if outcome == "skipped":
                count["skipped"] += 1
            elif isinstance(outcome, str):
                count["dead_lettered"] += 1
                count["retried"] += MAX_ATTEMPTS - 1 if outcome == "trap" else 0
                reasons[name][outcome] += 1
            else:
                count["done"] += 1
                count["retried"] += 2 if name == "payments" and data.get("note") == "flaky" else 0
                count["emitted"] += len(outcome)
                for to, kind_out, data_out in outcome:
                    emits[to] += 1
                    queue.append((to, "valid", kind_out, data_out, correlated))
    projections = {}
    for name, (subjects, view) in PROJECTIONS.items():
        events = [event for event in queue if event[0].split(".")[0] in subjects]
        folded = [(kind, data, correlated) for _, fate, kind, data, correlated in events if fate == "valid"]
        reasons[name] = Counter(fate for _, fate, *_ in events if fate != "valid")
        projections[name] = {"folded": len(folded), "dead_lettered": reasons[name].total()} | view(folded)
    fates = Counter(line["fate"] for line in lines)
    by_reason = sum(reasons.values(), Counter())
    columns = ["received", "done", "skipped", "retried", "dead_lettered", "emitted"]
    return {
        "published": {"lines": len(lines), "stored": len(lines) - fates["duplicate"], "duplicates": fates["duplicate"]},
        "routes": {name: {column: count[column] for column in columns} for name, count in routes.items()},
        "projections": projections,
        "dead_letters": {
            "total": by_reason.total(),
            "by_reason": dict(sorted(by_reason.items())),
            "by_route": {name: dict(sorted(counts.items())) for name, counts in reasons.items() if counts},
        },
        "emits": dict(sorted(emits.items())),
        "state": {
            "order-analytics": dict(sorted(states["analytics"].items())),
            "account-creator": {"keys": len(states["account-creation"])},
        },
    }


# --- writing -------------------------------------------------------------------------------------------------------------


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tables(counts):
    rows = ["| route | received | done | skipped | retried | dead-lettered | emitted |", "|---|--:|--:|--:|--:|--:|--:|"]
    rows += [f"| `{name}` | " + " | ".join(str(value) for value in row.values()) + " |" for name, row in counts["routes"].items()]
    rows += ["", "| projection | folded | dead-lettered | documents | by status |", "|---|--:|--:|---|---|"]
    for name, row in counts["projections"].items():
        documents = ", ".join(f"{count} `{collection}`" for collection, count in row["documents"].items())
        statuses = "; ".join(
            f"`{collection}`: " + ", ".join(f"{count} {status}" for status, count in found.items())
            for collection, found in row["by_status"].items())
        rows.append(f"| `{name}` | {row['folded']} | {row['dead_lettered']} | {documents} | {statuses} |")
    rows += ["", "| dead letters | " + " | ".join(f"`{reason}`" for reason in counts["dead_letters"]["by_reason"]) + " |"]
    rows += ["|---|" + "--:|" * len(counts["dead_letters"]["by_reason"])]
    for name, found in counts["dead_letters"]["by_route"].items():
        rows.append(f"| `{name}` | " + " | ".join(str(found.get(r, "")) for r in counts["dead_letters"]["by_reason"]) + " |")
    total = " | ".join(f"**{n}**" for n in counts["dead_letters"]["by_reason"].values())
    return rows + [f"| **{counts['dead_letters']['total']} together** | {total} |"]


def readme(counts):
    text = (HERE / "README.md").read_text(encoding="utf-8")
    before, rest = text.split("<!-- expected: written by generate.py -->\n")
    _, after = rest.split("<!-- end of expected -->")
    table = "\n".join(tables(counts))
    return f"{before}<!-- expected: written by generate.py -->\n\n{table}\n\n<!-- end of expected -->{after}"


def main():
    lines = all_lines()
    counts = expected(lines)
    files = {
        "events.jsonl": "".join(compact(line["line"]) + "\n" for line in lines),
        "expected.json": json.dumps(counts, indent=2) + "\n",
        "README.md": readme(counts),
    }
    stale = [name for name, text in files.items() if not (HERE / name).exists() or (HERE / name).read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"generate.py: {', '.join(stale)} differ from what this script writes; run examples/shop/generate.py")
        return
    for name in stale:
        (HERE / name).write_text(files[name], encoding="utf-8")


if __name__ == "__main__":
    main()
