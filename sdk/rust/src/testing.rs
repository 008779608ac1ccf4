//! Handlers in plain `cargo test`, without Wasm and without a server.
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
//! The harness keeps the host's promises: the emits and state writes of a failed call vanish, a call sees its own writes,
//! and a refused emit fails the call even if the handler ignores it. It does not check schemas, limits of time and memory,
//! or conflicts; those belong to the host.

mod event;
mod harness;
mod run;
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;

pub use harness::Harness;
pub use run::{Emitted, Ended, LogLine, Run};
