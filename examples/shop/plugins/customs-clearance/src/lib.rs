//! Asks for customs papers when an order leaves the country.
//!
//! That it leaves the country is the route's filter: `destination: { country: [{ anything-but: US }] }`.

use tidemill_sdk::prelude::*;

/// The postal unions' limits of the short form: up to 300 (in special drawing rights, taken here as the currency) and 2 kg.
const SHORT_FORM_VALUE: f64 = 300.0;
const SHORT_FORM_GRAMS: u32 = 2000;

#[derive(Deserialize)]
struct Shipment {
    order_id: String,
    tracking_number: String,
    destination: Address,
    declared_value: f64,
    currency: String,
    weight_grams: u32,
}

#[derive(Deserialize)]
struct Address {
    country: String,
}

#[derive(Serialize)]
struct CustomsRequested {
    order_id: String,
    tracking_number: String,
    country: String,
    declared_value: f64,
    currency: String,
    form: &'static str,
}

struct CustomsClearance;

impl Handler for CustomsClearance {
    type Data = Shipment;

    fn handle(event: Event<Shipment>, _: &Context) -> Outcome {
        let shipment = event.data;
        let short = shipment.declared_value <= SHORT_FORM_VALUE && shipment.weight_grams <= SHORT_FORM_GRAMS;
        let request = CustomsRequested {
            order_id: shipment.order_id,
            tracking_number: shipment.tracking_number,
            country: shipment.destination.country,
            declared_value: shipment.declared_value,
            currency: shipment.currency,
            form: if short { "CN22" } else { "CN23" },
        };
        Emit::to("customs.requested").kind("CustomsRequested").subject(&request.order_id).json(&request).send()?;
        Ok(())
    }
}

tidemill_sdk::handler!(CustomsClearance);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    fn shipped(value: f64, grams: u32) -> Event<Raw> {
        Event::new("OrderShipped").data(json!({
            "order_id": "o-1", "tracking_number": "T1", "destination": { "country": "DE" },
            "declared_value": value, "currency": "USD", "weight_grams": grams,
        }))
    }

    #[test]
    fn value_and_weight_choose_the_form() {
        for (value, grams, form) in [(300.0, 2000, "CN22"), (300.01, 100, "CN23"), (10.0, 2001, "CN23")] {
            let run = Harness::<CustomsClearance>::new().handle(shipped(value, grams));
            let request = run.emitted("CustomsRequested").json();
            assert_eq!((&request["form"], &request["country"]), (&json!(form), &json!("DE")), "{value} {grams}");
        }
    }

    #[test]
    fn a_shipment_without_a_destination_is_rejected_by_name() {
        let event = Event::new("OrderShipped").data(json!({ "order_id": "o-1", "tracking_number": "T1" }));
        Harness::<CustomsClearance>::new().handle(event).assert_rejected("missing field `destination`");
    }
}
