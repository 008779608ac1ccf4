//! Handlers and projections in plain `cargo test`, without Wasm and without a server.
//!
//! ```
//! use tidemill_sdk::prelude::*;
//! use tidemill_sdk::testing::Harness;
//!
//! struct Welcome;
//!
//! impl Handler for Welcome {
//!     type Data = Value;
//!
//!     fn handle(event: Event<Value>, _: &Context) -> Outcome {
//!         let name = event.data["name"].as_str().or_reject("a customer needs a name")?;
//!         Emit::to("mails.sent").kind("MailSent").json(&json!({ "text": format!("Hello {name}") })).send()?;
//!         Ok(())
//!     }
//! }
//!
//! let run = Harness::<Welcome>::new().handle(Event::new("CustomerRegistered").data(json!({ "name": "Ada" })));
//! run.assert_done();
//! assert_eq!(run.emitted("MailSent").json(), json!({ "text": "Hello Ada" }));
//!
//! let run = Harness::<Welcome>::new().handle(Event::new("CustomerRegistered").data(json!({})));
//! run.assert_rejected("needs a name");
//! ```
//!
//! A projection has a harness of its own, with collections of documents in place of state and emits:
//!
//! ```
//! use tidemill_sdk::prelude::*;
//! use tidemill_sdk::testing::ProjectionHarness;
//!
//! struct Customers;
//!
//! impl Projection for Customers {
//!     type Data = Value;
//!
//!     fn apply(event: Event<Value>, _: &Context) -> Outcome {
//!         let id = event.data["id"].as_str().or_reject("a customer needs an id")?;
//!         read_model::put("customers", id, &json!({ "name": event.data["name"] }))?;
//!         Ok(())
//!     }
//! }
//!
//! let mut customers = ProjectionHarness::<Customers>::new().collection("customers", []);
//! let run = customers.apply(Event::new("CustomerRegistered").data(json!({ "id": "c-1", "name": "Ada" })));
//! run.assert_done();
//! assert_eq!(run.document("customers", "c-1"), Some(json!({ "name": "Ada" })));
//! ```
//!
//! The harnesses keep the host's promises: the emits, state writes and documents of a failed call vanish, a call sees its own
//! writes, and a refused emit or document fails the call even if the plugin ignores it. They do not check schemas, limits of
//! time and memory, or conflicts; those belong to the host.

mod documents;
mod event;
mod harness;
mod projection;
mod run;
mod stage;
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;

pub use harness::Harness;
pub use projection::ProjectionHarness;
pub use run::{Emitted, Ended, LogLine, Run};
