//! Looks at large orders and says how risky they are.

use tidemill_sdk::prelude::*;

#[derive(Deserialize)]
struct Order {
    order_id: String,
    customer_id: String,
    total: f64,
}

struct FraudCheck;

impl Handler for FraudCheck {
    type Data = Order;

    fn handle(event: Event<Order>, _: &Context) -> Outcome {
        let threshold: f64 = config::get("threshold")?.unwrap_or(1000.0);
        let order = event.data;
        if order.total >= threshold {
            Emit::to("fraud.checked").kind("FraudChecked").json(&json!({"order_id": order.order_id, "customer_id": order.customer_id, "total": order.total})).send()?;
        }
        Ok(())
    }
}

tidemill_sdk::handler!(FraudCheck);
