//! `tidemill:plugin/host`: time, identity and randomness.

use std::time::SystemTime;

use std::time::Instant;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;
use wasmtime::bail;

use super::NO_CALL;
use crate::bindings::tidemill::plugin::host::Host;
use crate::guest::{CurrentCall, Guest};
use crate::stage::Lane;

/// The namespace of `stable-id`. It never changes: a changed namespace would make every repeated call make new things.
const STABLE_ID_NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_1b6e_52d4_4d0f_9a3b_7e15_c0d2_84a1);

const MAX_RANDOM_BYTES: u32 = 4096;

const RFC3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

impl Host for Guest {
    fn now(&mut self) -> wasmtime::Result<String> {
        let now = self.props.as_ref().map_or_else(SystemTime::now, |props| props.now());
        match OffsetDateTime::from(now).format(RFC3339_MILLIS) {
            Ok(text) => Ok(text),
            Err(why) => bail!("the host's clock has no readable time: {why}"),
        }
    }

    fn stable_id(&mut self, name: String) -> wasmtime::Result<String> {
        let Some(CurrentCall { settings, origin: Some(origin), .. }) = &self.call else {
            let why = if self.call.is_some() { "a query has no event that the id could be made from" } else { NO_CALL };
            bail!("`host.stable-id` failed: {why}");
        };
        // Neither names nor numbers hold a zero byte, so no two combinations read the same.
        let text = format!("{}\0{}\0{}\0{name}", settings.route, origin.stream, origin.sequence);
        Ok(Uuid::new_v5(&STABLE_ID_NAMESPACE, text.as_bytes()).to_string())
    }

    fn time_left(&mut self) -> wasmtime::Result<u32> {
        let Some(call) = &self.call else { return Ok(0) };
        let left = match &self.props {
            Some(props) => props.time_left(call.settings.timeout),
            None => self.deadline.saturating_duration_since(Instant::now()),
        };
        Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX))
    }

    fn random(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        if length > MAX_RANDOM_BYTES {
            bail!("`host.random` gives at most {MAX_RANDOM_BYTES} bytes, the plugin asked for {length}");
        }
        let mut bytes = vec![0; length as usize];
        if let Some(props) = &self.props {
            props.draw(Lane::Host, &mut bytes);
            return Ok(bytes);
        }
        match getrandom::fill(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(why) => bail!("the system gives no random bytes: {why}"),
        }
    }
}
