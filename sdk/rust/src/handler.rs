//! The frame of a plugin: one trait, one macro.
//!
//! `handle` has no `self`. An instance may vanish between two events, so there is nothing that `self` could promise to
//! keep; what must stay belongs into [`state`](crate::state).

use crate::{Context, Event, FromData, Outcome};

/// A plugin that handles events. Export it with [`handler!`](crate::handler).
pub trait Handler {
    /// What the event's data is: any type with `serde::Deserialize`, [`Value`](crate::Value) for JSON of unknown shape,
    /// or [`Raw`](crate::Raw) for the bytes. Data that does not fit rejects the event, with the place and the reason.
    type Data: FromData;

    /// Handles one event.
    ///
    /// On `Ok` the emits and state writes of this call become durable together with the fact that the event is done, all
    /// of them or none. On `Err`, after a panic and after a timeout none of them happens. The same event may be given
    /// again, after a failure or a crash; effects of an earlier successful call are not doubled.
    ///
    /// # Errors
    ///
    /// [`reject`](crate::reject) when trying again cannot help, [`retry`](crate::retry) when it can. Any other error that
    /// passes through `?` means retry.
    fn handle(event: Event<Self::Data>, context: &Context) -> Outcome;
}

/// Makes the crate a plugin. Stands once, at the root of a crate with `crate-type = ["cdylib"]`.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// struct Quiet;
///
/// impl Handler for Quiet {
///     type Data = Value;
///
///     fn handle(_: Event<Value>, _: &Context) -> Outcome {
///         Ok(())
///     }
/// }
///
/// tidemill_sdk::handler!(Quiet);
/// ```
#[macro_export]
macro_rules! handler {
    ($handler:ty) => {
        const _: () = $crate::__private::is_handler::<$handler>();

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::__private::Guest for Component {
                fn handle(
                    event: $crate::__private::RawEvent,
                    context: $crate::__private::RawContext,
                ) -> ::core::result::Result<(), $crate::__private::RawFailure> {
                    $crate::__private::handle::<$handler>(event, context)
                }
            }

    $crate::bindings::export_handler!(Component with_types_in $crate::bindings);
        };
    };
}
