//! Lines for the host's log: a sentence, then fields.
//!
//! The host adds plugin, route and event id. Unlike an effect a line is written whether the call succeeds or not, and the
//! last lines of a failed call go into its dead letter.
//!
//! ```
//! # use tidemill_sdk::prelude::*;
//! # tidemill_sdk::testing::Harness::<Demo>::new().handle(Event::new("Demo").data(json!({})));
//! # struct Demo;
//! # impl Handler for Demo {
//! #     type Data = Value;
//! #     fn handle(_: Event<Value>, _: &Context) -> Outcome {
//! let (order, items) = ("o-1", 3);
//! info!("checked the order");
//! warn!("{items} items are out of stock"; order = order, warehouse = "north");
//! #         Ok(())
//! #     }
//! # }
//! ```

use std::fmt::{self, Display};

use crate::imports;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a line. The macros [`trace!`](crate::trace), [`debug!`](crate::debug), [`info!`](crate::info),
/// [`warn!`](crate::warn) and [`error!`](crate::error) read better.
pub fn write(level: Level, message: fmt::Arguments<'_>, fields: &[(&str, &dyn Display)]) {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    imports::log(level, &message.to_string(), fields);
}

/// Writes a line at a [`Level`]: a format text with its arguments, then, after a semicolon, fields.
#[macro_export]
macro_rules! log {
    ($level:expr, $text:literal $(, $argument:expr)* $(; $($name:ident = $value:expr),* $(,)?)?) => {
        $crate::log::write(
            $level,
            ::core::format_args!($text $(, $argument)*),
            &[$($((::core::stringify!($name), &$value as &dyn ::core::fmt::Display)),*)?],
        )
    };
}

/// Writes a line for whoever follows a single step: `trace!("text {}", argument; field = value)`.
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Trace, $($line)+) };
}

/// Writes a line for whoever looks for a mistake: `debug!("text {}", argument; field = value)`.
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Debug, $($line)+) };
}

/// Writes a line about what happens: `info!("text {}", argument; field = value)`.
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Info, $($line)+) };
}

/// Writes a line about what is not as it should be: `warn!("text {}", argument; field = value)`.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Warn, $($line)+) };
}

/// Writes a line about what a person must look after: `error!("text {}", argument; field = value)`.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Error, $($line)+) };
}
