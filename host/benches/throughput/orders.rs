//! The orders that everybody works on.

use serde_json::json;

/// The data of order `number`: about 300 bytes, always above the fraud threshold.
pub(crate) fn data(number: usize) -> Vec<u8> {
    let order = json!({
        "order_id": format!("ord-{number:08}"),
        "customer_id": format!("cus-{:05}", number % 10_000),
        "total": 1000.0 + (number % 5000) as f64,
        "currency": "EUR",
        "country": "DE",
        "items": [
            { "sku": format!("sku-{:04}", number % 900), "quantity": 1 + number % 3, "unit_price": 480.5 },
            { "sku": format!("sku-{:04}", number % 700), "quantity": 2, "unit_price": 260.0 },
        ],
        "note": "leave at the door"
    });
    serde_json::to_vec(&order).unwrap()
}

/// Names and values of the CloudEvents headers of order `number`.
pub(crate) fn headers(number: usize) -> [(&'static str, String); 5] {
    [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", format!("evt-{number:08}")),
        ("ce-source", "/bench".to_owned()),
        ("ce-type", "OrderCreated".to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
}

/// The schema that both contestants check.
pub(crate) const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["order_id", "customer_id", "total", "currency", "items"],
  "properties": {
    "order_id": { "type": "string", "pattern": "^ord-[0-9]+$" },
    "customer_id": { "type": "string", "minLength": 1 },
    "total": { "type": "number", "minimum": 0 },
    "currency": { "type": "string", "minLength": 3, "maxLength": 3 },
    "country": { "type": "string" },
    "items": {
      "type": "array", "minItems": 1,
      "items": {
        "type": "object", "required": ["sku", "quantity", "unit_price"],
        "properties": {
          "sku": { "type": "string" },
          "quantity": { "type": "integer", "minimum": 1 },
          "unit_price": { "type": "number", "minimum": 0 }
        }
      }
    }
  }
}"#;
