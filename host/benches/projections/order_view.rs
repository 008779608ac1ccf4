//! What the shop's `order-view` makes of an order, in the host: the same documents, byte for byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_core::event::Event;

#[derive(Deserialize)]
pub(crate) struct Created {
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    total: f64,
    currency: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    quantity: u32,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) customer_id: String,
    pub(crate) status: String,
    pub(crate) total: f64,
    currency: String,
    items: u32,
    pub(crate) created_at: String,
    pub(crate) created_day: String,
    updated_at: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) orders: u32,
    cancelled: u32,
    spent: BTreeMap<String, f64>,
    last_order: Option<LastOrder>,
}

#[derive(Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
struct LastOrder {
    created_at: String,
    order_id: String,
}

// === impl Created ===

impl Created {
    pub(crate) fn of(event: &Event) -> Self {
        serde_json::from_slice(&event.data).unwrap()
    }

    /// Of an order that was not there before.
    pub(crate) fn order(&self, time: &str) -> Order {
        Order {
            customer_id: self.customer_id.clone(),
            status: "pending".to_owned(),
            total: self.total,
            currency: self.currency.clone(),
            items: self.items.iter().map(|item| item.quantity).sum(),
            created_at: time.to_owned(),
            created_day: time[..10].to_owned(),
            updated_at: time.to_owned(),
        }
    }

    pub(crate) fn totals(&self, before: Option<Totals>, time: &str) -> Totals {
        let mut totals = before.unwrap_or_default();
        totals.orders += 1;
        let spent = totals.spent.entry(self.currency.clone()).or_default();
        // Cents, as `order-view` adds them up.
        *spent = ((*spent * 100.0).round() + (self.total * 100.0).round()) / 100.0;
        let last = LastOrder { created_at: time.to_owned(), order_id: self.order_id.clone() };
        totals.last_order = match totals.last_order {
            Some(before) if before > last => Some(before),
            _ => Some(last),
        };
        totals
    }
}
