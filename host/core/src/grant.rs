//! What a plugin may do. Everything that is not granted is refused, before it reaches the wire, with a text that names
//! the line of `runtime.yaml` which would allow it.

use crate::event::MAX_EXTENSIONS;
use crate::subject::{Subject, SubjectPattern};
use crate::text::clean_text;

/// Prefixes that belong to the server or to the host. No grant opens them.
const RESERVED_PREFIXES: [&str; 4] = ["$", "_INBOX", "_R_", "tidemill"];

/// NATS advises at most sixteen; a subject made from an event's data must not become a load on the server's subject tree.
const MAX_EMIT_TOKENS: usize = 64;

/// Extension attributes that the host fills in itself. A plugin cannot forge where an event comes from.
const HOST_OWNED_EXTENSIONS: [&str; 4] = ["correlationid", "causationid", "traceparent", "tracestate"];

/// Attribute names of CloudEvents 1.0, which are not extensions.
const CONTEXT_ATTRIBUTES: [&str; 9] =
    ["id", "source", "type", "specversion", "time", "subject", "datacontenttype", "dataschema", "data"];

/// The grant of one route to its plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The subjects that may be emitted to (`routes[].emits`).
    pub emits: Vec<SubjectPattern>,
}

/// Why a wish was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("`{0}` cannot be emitted to: {1}")]
    BadSubject(String, String),
    #[error(
        "`{0}` cannot be emitted to: subjects that begin with `$`, `_INBOX`, `_R_` or `tidemill` belong to the server and the host"
    )]
    ReservedSubject(String),
    #[error("emitting to `{0}` is not granted; the route's `emits: [\"{0}\"]` in runtime.yaml would allow it")]
    NotGranted(String),
    #[error("an event needs a type of 1 to 255 printable characters, found `{0}`")]
    BadType(String),
    #[error("attribute `{0}` is refused: it must have 1 to 1024 bytes and no control characters, or be left out")]
    BadAttribute(String),
    #[error("{0} extension attributes are too many; at most 60 are read back")]
    TooManyExtensions(usize),
    #[error("extension attribute `{0}` is refused: {1}")]
    BadExtension(String, &'static str),
    #[error(
        "the limit `{limit}` of {allowed} is used up; `plugins.settings.<plugin>.limits.{limit}` in runtime.yaml raises it"
    )]
    Limit { limit: &'static str, allowed: u64 },
}

/// Whether a subject or pattern begins with what belongs to the server or to the host.
pub fn is_reserved(subject: &str) -> bool {
    let first = subject.split('.').next().unwrap_or_default();
    RESERVED_PREFIXES.iter().any(|prefix| first.starts_with(prefix))
}

// === impl Grant ===

impl Grant {
    /// The subject, if the plugin may emit to it.
    pub fn check_emit(&self, to: &str) -> Result<Subject, Refusal> {
        let subject = Subject::try_new(to).map_err(|why| Refusal::BadSubject(to.to_owned(), why.to_string()))?;
        if is_reserved(to) {
            return Err(Refusal::ReservedSubject(to.to_owned()));
        }
        let tokens = to.split('.').count();
        if tokens > MAX_EMIT_TOKENS {
            let why = format!("it has {tokens} tokens, and at most {MAX_EMIT_TOKENS} are published");
            return Err(Refusal::BadSubject(clean_text(to, 64), why));
        }
        if self.emits.iter().any(|pattern| pattern.matches(to)) {
            Ok(subject)
        } else {
            Err(Refusal::NotGranted(to.to_owned()))
        }
    }

    pub(crate) fn check_event_type(&self, kind: &str) -> Result<(), Refusal> {
        let printable = !kind.is_empty() && kind.len() <= 255 && !kind.chars().any(char::is_control);
        if printable { Ok(()) } else { Err(Refusal::BadType(kind.chars().take(64).collect())) }
    }

    /// An optional attribute is absent or says something that a reader of the event takes.
    pub(crate) fn check_attribute(&self, name: &str, value: Option<&str>) -> Result<(), Refusal> {
        match value {
            Some(value) if value.is_empty() || value.len() > 1024 || value.chars().any(char::is_control) => {
                Err(Refusal::BadAttribute(name.to_owned()))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_extensions(&self, extensions: &[(String, String)]) -> Result<(), Refusal> {
        // Four more are the host's own: correlation, causation and the trace.
        if extensions.len() > MAX_EXTENSIONS - HOST_OWNED_EXTENSIONS.len() {
            return Err(Refusal::TooManyExtensions(extensions.len()));
        }
        for (index, (name, value)) in extensions.iter().enumerate() {
            self.check_extension(name, value)?;
            if extensions[..index].iter().any(|(known, _)| known == name) {
                return Err(Refusal::BadExtension(name.clone(), "it is given twice"));
            }
        }
        Ok(())
    }

    /// CloudEvents 1.0.2, "Attribute Naming Convention": lower-case letters and digits, at most 20 characters advised.
    pub(crate) fn check_extension(&self, name: &str, value: &str) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::BadExtension(name.chars().take(64).collect(), why));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return refuse("its name must be made of `a-z` and `0-9`");
        }
        if CONTEXT_ATTRIBUTES.contains(&name) {
            return refuse("it is an attribute of CloudEvents itself");
        }
        if HOST_OWNED_EXTENSIONS.contains(&name) {
            return refuse("the host carries it from event to event by itself");
        }
        if value.len() > 4096 || value.chars().any(char::is_control) {
            return refuse("its value must have at most 4096 bytes and no control characters");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(patterns: &[&str]) -> Grant {
        Grant { emits: patterns.iter().map(|p| SubjectPattern::try_new(p).unwrap()).collect() }
    }

    #[test]
    fn only_granted_subjects_pass() {
        let grant = grant(&["fraud.>"]);
        assert!(grant.check_emit("fraud.checked").is_ok());
        assert!(matches!(grant.check_emit("orders.created"), Err(Refusal::NotGranted(_))));
        assert!(matches!(grant.check_emit("fraud.*"), Err(Refusal::BadSubject(..))));
    }

    #[test]
    fn server_and_host_subjects_are_refused_even_when_everything_is_granted() {
        let grant = grant(&[">"]);
        for subject in ["$JS.API.STREAM.DELETE.ORDERS", "$SYS.x", "_INBOX.a.b", "tidemill.retry.x"] {
            assert!(matches!(grant.check_emit(subject), Err(Refusal::ReservedSubject(_))), "{subject}");
        }
    }

    #[test]
    fn a_subject_of_hundreds_of_tokens_is_refused_although_a_pattern_admits_it() {
        let deep = |tokens: usize| vec!["a"; tokens].join(".");
        assert!(grant(&["a.>"]).check_emit(&deep(MAX_EMIT_TOKENS)).is_ok());
        let refusal = grant(&["a.>"]).check_emit(&deep(300)).unwrap_err().to_string();
        assert!(refusal.contains("it has 300 tokens, and at most 64 are published"), "{refusal}");
    }

    #[test]
    fn an_event_cannot_forge_its_origin() {
        let grant = grant(&[]);
        for name in ["correlationid", "traceparent", "id", "Upper", ""] {
            assert!(grant.check_extension(name, "x").is_err(), "{name}");
        }
        assert!(grant.check_extension("tenant", "a\nb").is_err());
        assert!(grant.check_extension("tenant", "acme").is_ok());
    }
}
