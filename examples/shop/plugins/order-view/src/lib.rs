//! What became of each order, and what each customer has spent. It folds the order events and the captured payments.
//!
//! | collection | key | document |
//! |---|---|---|
//! | `orders` | order | customer, status, total, currency, items, when it was created and last changed |
//! | `customer-totals` | customer | how many orders, how many of them cancelled, what was spent by currency, the last order |
//!
//! Orders and payments come from two streams, between which there is no order: a payment may be folded before the order that it
//! is for. So a document takes from each event what the event knows, in whatever order they come, and a status never goes back.
//!
//! The query `revenue` adds up the orders of some days; see [`revenue`].

mod money;
mod revenue;

use std::collections::BTreeMap;

use money::Money;
use tidemill_sdk::prelude::*;

const ORDERS: &str = "orders";
const TOTALS: &str = "customer-totals";

/// A document of `orders`. Indexed by `status`, by `created_day` and by `[customer_id, created_at]`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    customer_id: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// Pieces; 0 as long as only a payment is known.
    items: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// The date of `created_at`, for whoever counts by days.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

/// How far an order has come. Of two events the later step wins, whichever is folded first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Pending,
    Paid,
    Shipped,
    Cancelled,
}

/// A document of `customer-totals`. Cancelled orders count as orders and not as spent.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Totals {
    orders: u32,
    cancelled: u32,
    spent: BTreeMap<String, Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_order: Option<LastOrder>,
}

/// The order of the fields decides which of two is the last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct LastOrder {
    created_at: String,
    order_id: String,
}

/// `OrderCreated`, both versions.
#[derive(Deserialize)]
struct Created {
    order_id: String,
    customer_id: String,
    total: Money,
    /// Version 1 knew only dollars.
    #[serde(default = "dollars")]
    currency: String,
    items: Vec<Item>,
    /// Since version 2.
    placed_at: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    quantity: u32,
}

/// `PaymentCaptured`.
#[derive(Deserialize)]
struct Paid {
    order_id: String,
    customer_id: String,
    amount: Money,
    currency: String,
}

/// `OrderShipped` and `OrderCancelled`.
#[derive(Deserialize)]
struct Moved {
    order_id: String,
    customer_id: String,
}

struct OrderView;

impl Projection for OrderView {
    type Data = Raw;

    fn apply(event: Event<Raw>, _: &Context) -> Outcome {
        match event.kind.as_str() {
            "OrderCreated" => created(event.data.read()?, event.time),
            "PaymentCaptured" => paid(event.data.read()?, event.time),
            "OrderShipped" => moved(event.data.read()?, Status::Shipped, event.time),
            "OrderCancelled" => moved(event.data.read()?, Status::Cancelled, event.time),
            _ => Ok(()),
        }
    }
}

impl Queries for OrderView {
    fn query(question: &Question) -> Answer {
        match question.name() {
            "revenue" => revenue::answer(question.params()?),
            _ => Err(question.unknown()),
        }
    }
}

fn created(created: Created, time: Option<String>) -> Outcome {
    let Created { order_id, customer_id, total, currency, items, placed_at } = created;
    let mut order: Order = read_model::get(ORDERS, &order_id)?.unwrap_or_default();
    if order.is_created() {
        warn!("an order was created twice, the first one counts"; order = order_id);
        return Ok(());
    }
    let created_at = placed_at.or(time);
    read_model::update(TOTALS, &customer_id, |totals: Option<Totals>| {
        let mut totals = totals.unwrap_or_default();
        totals.orders += 1;
        match order.status {
            Status::Cancelled => totals.cancelled += 1,
            _ => *totals.spent.entry(currency.clone()).or_default() += total,
        }
        let last = created_at.clone().map(|created_at| LastOrder { created_at, order_id: order_id.clone() });
        totals.last_order = totals.last_order.max(last);
        totals
    })?;
    order.customer_id = customer_id;
    order.total = Some(total);
    order.currency = Some(currency);
    order.items = items.iter().map(|item| item.quantity).sum();
    order.created_day = created_at.as_deref().and_then(|time| time.get(..10)).map(str::to_owned);
    order.updated_at = order.updated_at.max(created_at.clone());
    order.created_at = created_at;
    read_model::put(ORDERS, &order_id, &order)?;
    Ok(())
}

fn paid(Paid { order_id, customer_id, amount, currency }: Paid, time: Option<String>) -> Outcome {
    read_model::update(ORDERS, &order_id, |order: Option<Order>| {
        let mut order = order.unwrap_or_default().reached(Status::Paid, customer_id, time);
        order.total.get_or_insert(amount);
        order.currency.get_or_insert(currency);
        order
    })?;
    Ok(())
}

fn moved(Moved { order_id, customer_id }: Moved, status: Status, time: Option<String>) -> Outcome {
    let order: Order = read_model::get(ORDERS, &order_id)?.unwrap_or_default();
    if status == Status::Cancelled && order.status != Status::Cancelled && order.is_created() {
        read_model::update(TOTALS, &customer_id, |totals: Option<Totals>| {
            let mut totals = totals.unwrap_or_default();
            totals.cancelled += 1;
            if let (Some(total), Some(currency)) = (order.total, &order.currency) {
                *totals.spent.entry(currency.clone()).or_default() -= total;
            }
            totals
        })?;
    }
    read_model::put(ORDERS, &order_id, &order.reached(status, customer_id, time))?;
    Ok(())
}

impl Order {
    /// Whether its `OrderCreated` was folded; an order has at least one item.
    fn is_created(&self) -> bool {
        self.items > 0
    }

    fn reached(mut self, status: Status, customer_id: String, time: Option<String>) -> Self {
        self.customer_id = customer_id;
        self.status = self.status.max(status);
        // Texts of the same format compare as the times do, and no time is less than any.
        self.updated_at = self.updated_at.max(time);
        self
    }
}

fn dollars() -> String {
    "USD".to_owned()
}

tidemill_sdk::projection!(OrderView, queries);

#[cfg(test)]
mod tests;
