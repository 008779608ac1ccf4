//! `tidemill:plugin/log`: a line in the host's log.

use crate::bindings::tidemill::plugin::log::{Host, Level as GuestLevel};
use crate::bindings::tidemill::plugin::types::AttributeResult;
use crate::call_log::Level;
use crate::guest::Guest;

impl Host for Guest {
    fn write(&mut self, level: GuestLevel, message: String, fields: Vec<AttributeResult>) {
        let fields = fields.iter().map(|field| (field.name.as_str(), field.value.as_str()));
        self.log.lock().write(host_level(level), &message, fields);
    }
}

fn host_level(level: GuestLevel) -> Level {
    match level {
        GuestLevel::Trace => Level::Trace,
        GuestLevel::Debug => Level::Debug,
        GuestLevel::Info => Level::Info,
        GuestLevel::Warn => Level::Warn,
        GuestLevel::Error => Level::Error,
    }
}
