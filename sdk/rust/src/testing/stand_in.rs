//! The seam of a native build: the host's imports, answered by the harness of the current thread. Its counterpart in a
//! component is the module `component`; both have the same functions.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::run::{Emitted, LogLine};
use crate::EmitError;
use crate::emit::Outgoing;
use crate::log::Level;
use crate::read_model::ReadModelError;
use crate::state::{MAX_LIST, StateError};

pub(super) use super::documents::Collection;
pub(crate) use super::documents::{document_delete, document_find, document_get, document_put};

/// A default host's time limit of a call.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The longest state key, and the largest value that a default host accepts.
const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 512 * 1024;

/// What kind of plugin is called. A component that imports what its kind has not is refused when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Handler,
    Projection,
}

/// What surrounds a plugin, and stays from call to call.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) role: Role,
    pub(super) config: BTreeMap<String, String>,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    /// `None`: every subject is granted.
    pub(super) grants: Option<Vec<String>>,
    pub(super) collections: BTreeMap<String, Collection>,
    pub(super) now: String,
    pub(super) time_left: Duration,
    /// Whether state and documents are out of reach.
    pub(super) unavailable: bool,
}

/// One call: the world as the call sees it, and what the call did.
pub(super) struct Call {
    pub(super) world: World,
    pub(super) emits: Vec<Emitted>,
    pub(super) logs: Vec<LogLine>,
    /// The first refused effect.
    pub(super) refused: Option<Refused>,
    /// Route, stream and sequence, from which stable ids are made. `None` while a question is answered.
    origin: Option<String>,
    drawn: u64,
}

/// An effect that was refused: it fails the call, whatever the plugin makes of it.
pub(super) enum Refused {
    Emit(EmitError),
    Write(ReadModelError),
}

thread_local! {
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// Runs `plugin`, which must not panic, with its imports answered from `world`.
pub(super) fn with_world<T>(world: World, origin: Option<String>, plugin: impl FnOnce() -> T) -> (T, Call) {
    let call = Call { world, emits: Vec::new(), logs: Vec::new(), refused: None, origin, drawn: 0 };
    let outer = CALL.replace(Some(call));
    let result = plugin();
    let Some(call) = CALL.replace(outer) else { unreachable!("a harness inside a plugin restores what it replaced") };
    (result, call)
}

pub(super) fn with_call<T>(import: impl FnOnce(&mut Call) -> T) -> T {
    CALL.with_borrow_mut(|call| match call {
        Some(call) => import(call),
        None => {
            panic!("outside of a plugin the host can be asked only inside of a harness: see `tidemill_sdk::testing`")
        }
    })
}

// --- imports ---------------------------------------------------------------------------------------------------------

pub(crate) fn emit(outgoing: Outgoing) -> Result<(), EmitError> {
    with_call(|call| {
        assert!(call.world.role == Role::Handler, "a projection emits nothing; the host refuses one that would");
        match check_emit(&outgoing, call.world.grants.as_deref()) {
            Ok(()) => {
                call.emits.push(outgoing.into());
                Ok(())
            }
            Err(error) => {
                call.refused.get_or_insert_with(|| Refused::Emit(error.clone()));
                Err(error)
            }
        }
    })
}

pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
    with_state(key, |state| state.get(key).cloned())
}

pub(crate) fn state_put(key: &str, value: &[u8]) -> Result<(), StateError> {
    check_value(value)?;
    with_state(key, |state| {
        state.insert(key.to_owned(), value.to_vec());
    })
}

pub(crate) fn state_delete(key: &str) -> Result<(), StateError> {
    with_state(key, |state| {
        state.remove(key);
    })
}

pub(crate) fn state_compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<bool, StateError> {
    check_value(value.unwrap_or_default())?;
    with_state(key, |state| {
        let matches = state.get(key).map(Vec::as_slice) == expected;
        match value {
            Some(value) if matches => drop(state.insert(key.to_owned(), value.to_vec())),
            None if matches => drop(state.remove(key)),
            _ => {}
        }
        matches
    })
}

pub(crate) fn state_list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
    with_call(|call| {
        check_reachable(call)?;
        let keys = call.world.state.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit.min(MAX_LIST) as usize).cloned().collect())
    })
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    with_call(|call| call.world.config.get(key).cloned())
}

pub(crate) fn config_keys() -> Vec<String> {
    with_call(|call| call.world.config.keys().cloned().collect())
}

pub(crate) fn log(level: Level, message: &str, fields: Vec<(String, String)>) {
    with_call(|call| call.logs.push(LogLine { level, message: message.to_owned(), fields }));
}

pub(crate) fn now() -> String {
    with_call(|call| call.world.now.clone())
}

/// Shaped like the host's ids and as stable, but another number: the host's needs SHA-1.
pub(crate) fn stable_id(name: &str) -> String {
    with_call(|call| {
        let Some(origin) = &call.origin else { panic!("a query has no event that a stable id could be made from") };
        let text = format!("{origin}/{name}");
        let (high, low) = (fnv1a(0xcbf2_9ce4_8422_2325, &text), fnv1a(0x6c62_272e_07bb_0142, &text));
        format!(
            "{:08x}-{:04x}-5{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
    })
}

/// Time stands still in a harness.
pub(crate) fn time_left() -> Duration {
    with_call(|call| call.world.time_left)
}

/// The same bytes in every run of a test.
pub(crate) fn random(length: u32) -> Vec<u8> {
    with_call(|call| {
        let mut byte = || {
            call.drawn += 1;
            fnv1a(call.drawn, "random").to_be_bytes()[0]
        };
        (0..length.min(4096)).map(|_| byte()).collect()
    })
}

// --- the host's rules ------------------------------------------------------------------------------------------------

fn check_emit(outgoing: &Outgoing, grants: Option<&[String]>) -> Result<(), EmitError> {
    let to = outgoing.to.as_str();
    if to.split('.').any(|token| token.is_empty() || token.contains(['*', '>', ' '])) {
        return Err(EmitError::Invalid(format!("`{to}` is not a subject")));
    }
    if outgoing.kind.is_empty() {
        return Err(EmitError::Invalid(format!("the emit to `{to}` has no type: `.kind(\"…\")` sets it")));
    }
    if to.starts_with('$') || to.starts_with("_INBOX") {
        return Err(EmitError::NotGranted(format!("`{to}` belongs to the server")));
    }
    if grants.is_some_and(|grants| !grants.iter().any(|pattern| admits(pattern, to))) {
        return Err(EmitError::NotGranted(format!(
            "emitting to `{to}` is not granted; the route's `emits: [\"{to}\"]` in runtime.yaml would allow it"
        )));
    }
    Ok(())
}

/// Whether a NATS subject pattern admits a subject.
fn admits(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

fn with_state<T>(key: &str, access: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, StateError> {
    check_key(key, "a state key").map_err(StateError::InvalidKey)?;
    with_call(|call| {
        check_reachable(call)?;
        Ok(access(&mut call.world.state))
    })
}

/// State keys and documents' keys keep the same rule.
pub(super) fn check_key(key: &str, what: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(format!(
            "`{}` is not {what}: expected 1 to 256 bytes without control characters",
            key.escape_debug()
        ));
    }
    Ok(())
}

fn check_reachable(call: &Call) -> Result<(), StateError> {
    assert!(
        call.world.role == Role::Handler,
        "a projection has no state, only documents; the host refuses one that uses it"
    );
    if call.world.unavailable {
        return Err(StateError::Unavailable("the harness says so".to_owned()));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), StateError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(StateError::Limit(format!("the limit `state_value` of {MAX_VALUE_BYTES} is used up")));
    }
    Ok(())
}

fn fnv1a(seed: u64, text: &str) -> u64 {
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

// === impl World ===

impl World {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            config: BTreeMap::new(),
            state: BTreeMap::new(),
            grants: None,
            collections: BTreeMap::new(),
            now: "2026-01-01T00:00:00.000Z".to_owned(),
            time_left: TIME_LIMIT,
            unavailable: false,
        }
    }
}

// === impl Call ===

impl Call {
    /// Whether a question is answered; then nothing may be written.
    pub(super) fn is_query(&self) -> bool {
        self.origin.is_none()
    }
}

// === impl Emitted ===

impl From<Outgoing> for Emitted {
    fn from(outgoing: Outgoing) -> Self {
        Self {
            to: outgoing.to,
            kind: outgoing.kind,
            subject: outgoing.subject,
            datacontenttype: outgoing.datacontenttype,
            dataschema: outgoing.dataschema,
            extensions: outgoing.extensions,
            data: outgoing.data,
        }
    }
}
