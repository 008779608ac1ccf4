//! The scenario of the languages, in Rust: `../README.md` says what it must do.

use tidemill_sdk::prelude::*;

#[derive(Deserialize)]
struct Payment {
    payment_id: String,
    account: String,
    amount: i64,
    items: Vec<Item>,
    trouble: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    quantity: i64,
    unit_price: i64,
}

struct Payments;

impl Handler for Payments {
    type Data = Payment;

    fn handle(event: Event<Payment>, context: &Context) -> Outcome {
        let Payment { payment_id, account, amount, items, trouble } = event.data;
        let sum: i64 = items.iter().map(|item| item.quantity * item.unit_price).sum();
        if sum != amount {
            return Err(reject(format!("the amount is {amount}, the items add up to {sum}")));
        }
        let limit: i64 = config::get("limit")?.unwrap_or(100_000);
        if amount > limit {
            return Err(reject(format!("{amount} is above the limit of {limit}")));
        }
        if let Some(trouble) = trouble {
            make(&trouble, context)?;
        }
        let balance: i64 = state::update(&format!("balance/{account}"), |balance: Option<i64>| balance.unwrap_or(0) + amount)?;
        Emit::to("payments.recorded")
            .kind("PaymentRecorded")
            .subject(&account)
            .json(&json!({ "payment_id": payment_id, "account": account, "balance": balance }))
            .send()?;
        Emit::to("receipts.issued")
            .kind("ReceiptIssued")
            .extension("lines", items.len().to_string())
            .json(&json!({ "payment_id": payment_id, "lines": items.len(), "amount": amount }))
            .send()?;
        info!("recorded a payment"; payment_id = payment_id, balance = balance);
        Ok(())
    }
}

/// Fails in the way that the event asks for.
fn make(trouble: &str, context: &Context) -> Outcome {
    match trouble {
        "retry" if context.attempt == 1 => {
            Err(retry("asked to be tried again").after(Duration::from_millis(10)))
        }
        "throw" => panic!("boom"),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&kept);
            }
        }
        _ => Ok(()),
    }
}

tidemill_sdk::handler!(Payments);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    fn payment(amount: i64) -> Event<Raw> {
        Event::new("PaymentRequested").data(json!({
            "payment_id": "p-1", "account": "a-1", "amount": amount, "items": [{ "sku": "MUG", "quantity": 2, "unit_price": 600 }],
        }))
    }

    #[test]
    fn a_payment_is_recorded() {
        let run = Harness::<Payments>::new().handle(payment(1200));
        run.assert_done();
        assert_eq!(run.state_json("balance/a-1"), Some(1200));
        assert_eq!(run.emitted("ReceiptIssued").json()["lines"], 1);
    }

    #[test]
    fn a_wrong_sum_is_rejected() {
        Harness::<Payments>::new().handle(payment(1300)).assert_rejected("the amount is 1300, the items add up to 1200");
    }
}
