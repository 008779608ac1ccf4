//! Counts orders by type and country, and adds up the revenue. It emits nothing: what it knows is in its state.
//!
//! | key | value |
//! |---|---|
//! | `count/<type>` | events of this type |
//! | `country/<code>` | orders that go to this country |
//! | `revenue/<currency>` | created minus refunded, in cents |
//!
//! Counting is exact although the code just adds one: state becomes durable together with the fact that the event is
//! done, so no redelivery counts twice.

use tidemill_sdk::prelude::*;

/// What is common to the order events. Which of it is there depends on the type and its version.
#[derive(Deserialize)]
struct Order {
    #[serde(default)]
    total: f64,
    #[serde(default)]
    refund: f64,
    /// `OrderCreated`, version 1.
    country: Option<String>,
    /// `OrderCreated`, since version 2.
    shipping: Option<Shipping>,
    /// Version 1 knew only one.
    #[serde(default = "dollars")]
    currency: String,
}

#[derive(Deserialize)]
struct Shipping {
    country: String,
}

struct OrderAnalytics;

impl Handler for OrderAnalytics {
    type Data = Order;

    fn handle(event: Event<Order>, _: &Context) -> Outcome {
        let order = event.data;
        add(&format!("count/{}", event.kind), 1)?;
        match event.kind.as_str() {
            "OrderCreated" => {
                let country = order.shipping.map(|shipping| shipping.country).or(order.country);
                add(&format!("country/{}", country.as_deref().unwrap_or("unknown")), 1)?;
                add(&format!("revenue/{}", order.currency), cents(order.total))
            }
            "OrderCancelled" => add(&format!("revenue/{}", order.currency), -cents(order.refund)),
            _ => Ok(()),
        }
    }
}

fn add(key: &str, number: i64) -> Outcome {
    state::update(key, |sum: Option<i64>| sum.unwrap_or(0) + number)?;
    Ok(())
}

/// Amounts have two decimals; rounding only removes the error of the binary fraction.
fn cents(amount: f64) -> i64 {
    (amount * 100.0).round() as i64
}

fn dollars() -> String {
    "USD".to_owned()
}

tidemill_sdk::handler!(OrderAnalytics);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    #[test]
    fn orders_are_counted_and_summed_over_several_events() {
        let mut analytics = Harness::<OrderAnalytics>::new();
        for (kind, data) in [
            ("OrderCreated", json!({ "total": 19.99, "country": "US" })),
            ("OrderCreated", json!({ "total": 0.07, "shipping": { "country": "US" }, "currency": "USD" })),
            ("OrderCreated", json!({ "total": 1234.56, "shipping": { "country": "DE" }, "currency": "EUR" })),
            ("OrderShipped", json!({ "destination": { "country": "DE" } })),
            ("OrderCancelled", json!({ "refund": 234.56, "currency": "EUR" })),
        ] {
            analytics.handle(Event::new(kind).data(data)).assert_done();
        }
        let run = analytics.handle(Event::new("OrderShipped").data(json!({})));
        let state: Vec<(String, i64)> =
            run.state.keys().map(|key| (key.clone(), run.state_json(key).unwrap())).collect();
        let expected = [
            ("count/OrderCancelled", 1),
            ("count/OrderCreated", 3),
            ("count/OrderShipped", 2),
            ("country/DE", 1),
            ("country/US", 2),
            ("revenue/EUR", 100_000),
            ("revenue/USD", 2006),
        ];
        assert_eq!(state, expected.map(|(key, value)| (key.to_owned(), value)));
        run.assert_no_emits();
    }

    #[test]
    fn a_foreign_value_under_a_key_is_a_retry_that_names_it() {
        let event = Event::new("OrderShipped").data(json!({}));
        let run = Harness::<OrderAnalytics>::new().state("count/OrderShipped", "many").handle(event);
        run.assert_retry("the state's value of `count/OrderShipped`");
    }
}
