#![doc = include_str!("../README.md")]
//!
//! # Modules in reading order
//!
//! [`Handler`] and [`handler!`] are the frame of a handler, [`Projection`], [`Queries`] and [`projection!`] that of a projection.
//! [`Event`], [`Context`] and [`Failure`] are what goes in and comes out. [`Emit`] and [`state`] are what a handler may ask of the
//! host, [`read_model`] is what a projection may, [`config`], [`log`](mod@log) and [`host`] what both may. [`testing`] is the
//! host's stand-in for `cargo test`.
//!
//! # How it is built
//!
//! Everything that crosses the component boundary passes through one private module, which exists twice: as the imports
//! that `wit-bindgen` generates, when compiled for Wasm, and as a thread-local stand-in, when compiled natively. So the
//! code between the author's handler and that module is the same in a test and in production. A trait with a mock
//! instead would have put a type parameter into every handler.
//!
//! All unsafe code is in what `wit-bindgen` generates.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

#[cfg(target_family = "wasm")]
extern crate self as tidemill_sdk;

mod context;
mod data;
mod emit;
mod event;
mod failure;
mod handler;
mod projection;

pub mod config;
pub mod host;
pub mod log;
pub mod read_model;
pub mod state;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
use component as imports;
#[cfg(not(target_family = "wasm"))]
use testing::stand_in as imports;

pub use context::Context;
pub use data::{FromData, Raw};
pub use emit::{Emit, EmitError};
pub use event::Event;
pub use failure::{Failure, OrFail, Outcome, reject, retry};
pub use handler::Handler;
pub use projection::{Answer, Projection, Queries, Question};

pub use serde;
pub use serde_json::{self, Value, json};

/// What a plugin usually needs: `use tidemill_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Answer, Context, Emit, Event, Failure, Handler, OrFail, Outcome, Projection, Queries, Question, Raw, Value,
        config, debug, error, host, info, json, read_model, reject, retry, state, trace, warn,
    };
    pub use serde::{Deserialize, Serialize};
    pub use std::time::Duration;
}

/// For the code that [`handler!`] and [`projection!`] generate.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::component::{
        Guest, ProjectionGuest, QueriesGuest, RawContext, RawEvent, RawFailure, apply, handle, query,
    };
    #[cfg(target_family = "wasm")]
    pub use wit_bindgen;

    /// Gives a readable error when the type is no handler, also in native builds.
    pub const fn is_handler<H: crate::Handler>() {}

    /// The same for projections.
    pub const fn is_projection<P: crate::Projection>() {}

    /// And for those that answer questions.
    pub const fn answers_queries<P: crate::Queries>() {}
}
