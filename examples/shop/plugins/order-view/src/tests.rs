use super::*;
use tidemill_sdk::testing::ProjectionHarness;

fn view() -> ProjectionHarness<OrderView> {
    ProjectionHarness::new()
        .collection("orders", ["status", "created_day", "customer_id", "created_at"])
        .collection("customer-totals", [])
}

fn order(number: u32, total: f64, time: &str) -> Event<Raw> {
    let data = json!({
        "order_id": format!("o-{number}"), "customer_id": "c-1", "total": total, "currency": "EUR", "placed_at": time,
        "items": [{ "sku": "MUG-001", "quantity": 2, "unit_price": 1 }, { "sku": "TEA-014", "quantity": 1, "unit_price": 1 }],
    });
    Event::new("OrderCreated").data(data).time(time)
}

fn step(kind: &str, number: u32, time: &str) -> Event<Raw> {
    let mut data = match kind {
        "PaymentCaptured" => json!({ "amount": 19.99, "currency": "EUR" }),
        _ => json!({ "refund": 0, "currency": "EUR" }),
    };
    data["order_id"] = json!(format!("o-{number}"));
    data["customer_id"] = json!("c-1");
    Event::new(kind).data(data).time(time)
}

/// Folds events and gives the documents of both collections.
fn folded(events: impl IntoIterator<Item = Event<Raw>>) -> [BTreeMap<String, Value>; 2] {
    let mut view = view();
    let mut run = view.apply(Event::new("Nothing"));
    for event in events {
        run = view.apply(event);
        run.assert_done();
    }
    [run.documents["orders"].clone(), run.documents["customer-totals"].clone()]
}

#[test]
fn an_order_goes_its_way() {
    let mut view = view();
    let run = view.apply(order(1, 19.99, "2026-01-05T08:00:00Z"));
    let created = json!({
        "customer_id": "c-1", "status": "pending", "total": 19.99, "currency": "EUR", "items": 3,
        "created_at": "2026-01-05T08:00:00Z", "created_day": "2026-01-05", "updated_at": "2026-01-05T08:00:00Z",
    });
    assert_eq!(run.document("orders", "o-1"), Some(created));
    for (kind, status, time) in [
        ("PaymentCaptured", "paid", "2026-01-05T08:01:00Z"),
        ("OrderShipped", "shipped", "2026-01-05T12:00:00Z"),
        ("OrderCancelled", "cancelled", "2026-01-06T09:00:00Z"),
    ] {
        let order: Value = view.apply(step(kind, 1, time)).document("orders", "o-1").unwrap();
        assert_eq!((&order["status"], &order["updated_at"]), (&json!(status), &json!(time)));
    }
}

#[test]
fn version_1_has_dollars_and_the_events_time() {
    let data = json!({
        "order_id": "o-1", "customer_id": "c-1", "total": 5, "country": "US",
        "items": [{ "sku": "MUG-001", "quantity": 1, "unit_price": 5 }],
    });
    let run = view().apply(Event::new("OrderCreated").data(data).time("2026-01-05T08:00:00Z"));
    let order: Order = run.document("orders", "o-1").unwrap();
    assert_eq!((order.currency.as_deref(), order.created_day.as_deref()), (Some("USD"), Some("2026-01-05")));
    assert_eq!(run.document::<Value>("customer-totals", "c-1").unwrap()["spent"], json!({ "USD": 5.0 }));
}

#[test]
fn totals_are_added_up_to_the_cent() {
    let orders = (1..=30).map(|number| order(number, 0.1, &format!("2026-01-{number:02}T08:00:00Z")));
    let cancelled =
        [step("OrderCancelled", 30, "2026-02-01T00:00:00Z"), step("OrderCancelled", 30, "2026-02-02T00:00:00Z")];
    let [_, totals] = folded(orders.chain(cancelled));
    let expected = json!({
        "orders": 30, "cancelled": 1, "spent": { "EUR": 2.9 },
        "last_order": { "created_at": "2026-01-30T08:00:00Z", "order_id": "o-30" },
    });
    assert_eq!(totals["c-1"], expected);
}

#[test]
fn an_order_that_is_created_twice_counts_once() {
    let once = folded([order(1, 19.99, "2026-01-05T08:00:00Z")]);
    assert_eq!(folded([order(1, 19.99, "2026-01-05T08:00:00Z"), order(1, 5.0, "2026-01-06T08:00:00Z")]), once);
}

#[test]
fn the_payment_may_be_folded_at_any_moment_and_nothing_else_comes_of_it() {
    let orders = || {
        vec![
            order(1, 19.99, "2026-01-05T08:00:00Z"),
            order(2, 19.99, "2026-01-05T09:00:00Z"),
            step("OrderShipped", 1, "2026-01-05T12:00:00Z"),
            step("OrderCancelled", 2, "2026-01-05T13:00:00Z"),
        ]
    };
    let payments = || [1, 2].map(|number| step("PaymentCaptured", number, "2026-01-05T09:30:00Z"));
    let expected = folded(orders().into_iter().chain(payments()));
    for first in 0..=4 {
        for second in first..=4 {
            let mut events = orders();
            let [one, two] = payments();
            events.insert(second, two);
            events.insert(first, one);
            assert_eq!(folded(events), expected, "payments at {first} and {second}");
        }
    }
    assert_eq!(expected[0]["o-1"]["status"], "shipped");
    assert_eq!(expected[1]["c-1"]["spent"], json!({ "EUR": 19.99 }));
}

#[test]
fn events_of_other_types_are_passed_over() {
    let run = view().apply(Event::new("OrderReturned").data(json!({ "order_id": "o-1" })));
    run.assert_done();
    run.assert_keys("orders", &[]);
}

#[test]
fn revenue_is_by_day_and_currency() {
    let mut view = view();
    let dollars = Event::new("OrderCreated").time("2026-01-06T23:59:59Z").data(json!({
        "order_id": "o-9", "customer_id": "c-2", "total": 7.5,
        "items": [{ "sku": "MUG-001", "quantity": 1, "unit_price": 7.5 }],
    }));
    for event in [
        order(1, 10.1, "2026-01-05T08:00:00Z"),
        order(2, 10.2, "2026-01-05T23:59:59Z"),
        order(3, 99.0, "2026-01-05T10:00:00Z"),
        step("OrderCancelled", 3, "2026-01-08T10:00:00Z"),
        order(4, 1.0, "2026-01-06T00:00:00Z"),
        dollars,
        order(5, 5.0, "2026-01-07T00:00:00Z"),
    ] {
        view.apply(event).assert_done();
    }
    let row = |day: &str, currency: &str, orders: u32, revenue: f64| json!({ "day": day, "currency": currency, "orders": orders, "revenue": revenue });
    assert_eq!(
        view.query("revenue", json!({ "from": "2026-01-05", "to": "2026-01-06" })),
        Ok(json!([
            row("2026-01-05", "EUR", 2, 20.3),
            row("2026-01-06", "EUR", 1, 1.0),
            row("2026-01-06", "USD", 1, 7.5)
        ]))
    );
    assert_eq!(view.query("revenue", json!({ "from": "2026-01-07" })), Ok(json!([row("2026-01-07", "EUR", 1, 5.0)])));
    assert_eq!(view.query("revenue", json!({ "from": "2026-01-07", "to": "2026-01-06" })), Ok(json!([])));
}

#[test]
fn revenue_wants_days_and_not_too_many() {
    for (params, reason) in [
        (json!({}), "the query's parameter object does not fit: missing field `from`"),
        (json!({ "from": "today" }), "`today` is no day: expected one like `2026-01-05`"),
        (json!({ "from": "2026-01-01", "to": "9999-12-31" }), "from 2026-01-01 to 9999-12-31 are more than 92 days"),
    ] {
        assert_eq!(view().query("revenue", params), Err(reject(reason)));
    }
    assert_eq!(view().query("profit", json!({})), Err(reject("there is no query `profit`")));
}
