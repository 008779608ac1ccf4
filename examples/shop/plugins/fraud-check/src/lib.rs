//! Looks at large orders and says how risky they are.
//!
//! The route's filter lets only orders of 1000 and more through, so the host does not even call the plugin for the others.
//! The plugin's own `threshold` scales the risk.

use tidemill_sdk::prelude::*;

/// What this plugin needs of an `OrderCreated`, version 1 or 2. Other members are ignored.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    customer_id: String,
    total: f64,
    #[serde(default)]
    items: Vec<Item>,
    /// Since version 2.
    shipping: Option<Shipping>,
}

#[derive(Deserialize)]
struct Item {
    quantity: u32,
    unit_price: f64,
}

#[derive(Deserialize)]
struct Shipping {
    method: String,
}

#[derive(Serialize)]
struct FraudChecked {
    order_id: String,
    customer_id: String,
    total: f64,
    risk: Risk,
    /// 0 to 100.
    score: u32,
    reasons: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Risk {
    Low,
    Medium,
    High,
}

struct FraudCheck;

impl Handler for FraudCheck {
    type Data = Order;

    fn handle(event: Event<Order>, _: &Context) -> Outcome {
        let threshold: f64 = config::get("threshold")?.unwrap_or(1000.0);
        let order = event.data;
        if order.total < threshold {
            return Ok(());
        }
        let checked = check(order, threshold);
        Emit::to("fraud.checked").kind("FraudChecked").subject(&checked.order_id).json(&checked).send()?;
        Ok(())
    }
}

fn check(order: Order, threshold: f64) -> FraudChecked {
    let signs = [
        ("a large amount", 20, true),
        ("a very large amount", 30, order.total >= 3.0 * threshold),
        ("one item makes up most of the order", 25, has_dominant_item(&order)),
        ("express shipping", 25, order.shipping.as_ref().is_some_and(|shipping| shipping.method == "express")),
    ];
    let found = signs.into_iter().filter(|(_, _, applies)| *applies);
    let (reasons, points): (Vec<_>, Vec<u32>) = found.map(|(reason, points, _)| (reason, points)).unzip();
    let score = points.iter().sum();
    let risk = match score {
        0..40 => Risk::Low,
        40..70 => Risk::Medium,
        _ => Risk::High,
    };
    FraudChecked { order_id: order.order_id, customer_id: order.customer_id, total: order.total, risk, score, reasons }
}

fn has_dominant_item(order: &Order) -> bool {
    order.items.len() > 1
        && order.items.iter().any(|item| f64::from(item.quantity) * item.unit_price > 0.8 * order.total)
}

tidemill_sdk::handler!(FraudCheck);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    fn order(total: f64) -> Value {
        json!({ "order_id": "o-1", "customer_id": "c-1", "total": total })
    }

    #[test]
    fn a_large_order_is_checked() {
        let run = Harness::<FraudCheck>::new().handle(Event::new("OrderCreated").data(order(1000.0)));
        run.assert_done();
        let checked = run.emitted("FraudChecked");
        assert_eq!(checked.to, "fraud.checked");
        assert_eq!(
            checked.json(),
            json!({
                "order_id": "o-1", "customer_id": "c-1", "total": 1000.0,
                "risk": "low", "score": 20, "reasons": ["a large amount"],
            })
        );
    }

    #[test]
    fn the_threshold_comes_from_the_configuration() {
        let harness = || Harness::<FraudCheck>::new().config("threshold", 500);
        harness().handle(Event::new("OrderCreated").data(order(499.99))).assert_no_emits();
        harness().handle(Event::new("OrderCreated").data(order(500.0))).emitted("FraudChecked");
    }

    #[test]
    fn signs_add_up() {
        let data = json!({
            "order_id": "o-1", "customer_id": "c-1", "total": 5000.0, "shipping": { "method": "express" },
            "items": [{ "quantity": 1, "unit_price": 4900.0 }, { "quantity": 2, "unit_price": 50.0 }],
        });
        let run = Harness::<FraudCheck>::new().handle(Event::new("OrderCreated").data(data));
        let checked = run.emitted("FraudChecked").json();
        assert_eq!((&checked["risk"], &checked["score"]), (&json!("high"), &json!(100)));
    }
}
