//! Captures the payment of an order, and shows what happens when a plugin misbehaves.
//!
//! An order with the note `poison` makes it panic each time; with the note `flaky` it asks for a retry twice and succeeds
//! on the third attempt. An order whose items do not add up to its total is rejected: no attempt will change that. The
//! setting `poison: capture` is the repair after which a redriven poison order goes through.

use tidemill_sdk::prelude::*;

#[derive(Deserialize)]
struct Order {
    order_id: String,
    customer_id: String,
    total: f64,
    items: Vec<Item>,
    #[serde(default = "dollars")]
    currency: String,
    note: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    quantity: u32,
    unit_price: f64,
}

struct PaymentCapture;

impl Handler for PaymentCapture {
    type Data = Order;

    fn handle(event: Event<Order>, context: &Context) -> Outcome {
        let order = event.data;
        match order.note.as_deref() {
            Some("poison") => swallow_poison(&order)?,
            Some("flaky") if context.attempt < 3 => {
                return Err(retry(format!("the payment gateway did not answer for order {}", order.order_id)));
            }
            _ => {}
        }
        let sum: i64 = order.items.iter().map(|item| i64::from(item.quantity) * cents(item.unit_price)).sum();
        if sum != cents(order.total) {
            return Err(reject(format!(
                "the items add up to {:.2}, the total is {:.2}",
                sum as f64 / 100.0,
                order.total
            )));
        }
        let payment = json!({
            "payment_id": host::stable_id("payment"), "order_id": order.order_id, "customer_id": order.customer_id,
            "amount": order.total, "currency": order.currency, "attempt": context.attempt,
        });
        Emit::to("payments.captured").kind("PaymentCaptured").subject(order.order_id).json(&payment).send()?;
        Ok(())
    }
}

fn swallow_poison(order: &Order) -> Outcome {
    let poison: Option<String> = config::get("poison")?;
    assert!(poison.as_deref() == Some("capture"), "order {} is poison", order.order_id);
    Ok(())
}

fn cents(amount: f64) -> i64 {
    (amount * 100.0).round() as i64
}

fn dollars() -> String {
    "USD".to_owned()
}

tidemill_sdk::handler!(PaymentCapture);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    fn order(note: &str) -> Event<Raw> {
        Event::new("OrderCreated").data(json!({
            "order_id": "o-1", "customer_id": "c-1", "total": 30.3, "note": note,
            "items": [{ "quantity": 3, "unit_price": 10.1 }],
        }))
    }

    #[test]
    fn a_payment_is_captured() {
        let run = Harness::<PaymentCapture>::new().handle(order("thank you"));
        let payment = run.emitted("PaymentCaptured").json();
        assert_eq!((&payment["amount"], &payment["currency"]), (&json!(30.3), &json!("USD")));
    }

    #[test]
    fn poison_panics_until_it_is_repaired() {
        let run = Harness::<PaymentCapture>::new().attempt(5).handle(order("poison"));
        run.assert_panicked("order o-1 is poison");
        run.assert_no_emits();
        Harness::<PaymentCapture>::new().config("poison", "capture").handle(order("poison")).assert_done();
    }

    #[test]
    fn flaky_succeeds_on_the_third_attempt_with_the_same_payment_id() {
        let mut capture = Harness::<PaymentCapture>::new();
        capture.handle(order("flaky")).assert_retry("did not answer for order o-1");
        capture = capture.attempt(2);
        capture.handle(order("flaky")).assert_retry("did not answer");
        capture = capture.attempt(3);
        assert_eq!(capture.handle(order("flaky")).emitted("PaymentCaptured").json()["attempt"], 3);
    }

    #[test]
    fn items_that_do_not_add_up_are_rejected() {
        let event = Event::new("OrderCreated").data(json!({
            "order_id": "o-1", "customer_id": "c-1", "total": 99.0, "items": [{ "quantity": 1, "unit_price": 9.0 }],
        }));
        Harness::<PaymentCapture>::new().handle(event).assert_rejected("the items add up to 9.00, the total is 99.00");
    }
}
