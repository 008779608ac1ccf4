//! What a plugin wants: emits, state writes and documents, collected during the call and not carried out.
//!
//! A host import only appends here, after the grant and the limits were asked. Nothing leaves before the guest has
//! returned success and `commit` has made all of it durable at once. A refused emit is a typed error to the guest, and
//! it also fails the call when the guest ignores it: half of what a handler wanted is never done.

use bytes::Bytes;

use crate::grant::{Grant, Refusal};
use crate::limits::Limits;
use crate::read_model::DocumentWrites;
use crate::state::StateWrites;
use crate::subject::Subject;

/// One event that a plugin wants to publish. Id, source, time and the correlation extensions are the host's to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emit {
    /// The NATS subject that the event is published to.
    pub to: Subject,
    /// The CloudEvents attribute `type`.
    pub kind: String,
    /// The CloudEvents attribute `subject`.
    pub subject: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    pub extensions: Vec<(String, String)>,
    pub data: Bytes,
}

/// Everything that one successful call wants to happen.
#[derive(Debug, Default)]
pub struct Effects {
    pub emits: Vec<Emit>,
    /// What the call read and wrote in its plugin's state. `None` when it did not touch state.
    pub state: Option<StateWrites>,
    /// The documents that a projection wrote.
    pub documents: DocumentWrites,
}

/// Collects the emits of one call and refuses what is not granted or too much.
#[derive(Debug)]
pub struct EmitCollector {
    emits: Vec<Emit>,
    bytes: u64,
    refused: Option<Refusal>,
}

// === impl EmitCollector ===

impl EmitCollector {
    pub fn new() -> Self {
        Self { emits: Vec::new(), bytes: 0, refused: None }
    }

    /// Takes an emit, given as the guest's texts, or says why not. The first refusal is remembered for [`finish`].
    ///
    /// [`finish`]: EmitCollector::finish
    pub fn emit(&mut self, request: EmitRequest, grant: &Grant, limits: &Limits) -> Result<(), Refusal> {
        let bytes = request.bytes();
        let checked = self.check(request, grant, limits);
        match checked {
            Ok(emit) => {
                self.bytes += bytes;
                self.emits.push(emit);
                Ok(())
            }
            Err(refusal) => {
                self.refused.get_or_insert_with(|| refusal.clone());
                Err(refusal)
            }
        }
    }

    fn check(&self, request: EmitRequest, grant: &Grant, limits: &Limits) -> Result<Emit, Refusal> {
        if self.emits.len() as u64 >= u64::from(limits.emits) {
            return Err(Refusal::Limit { limit: "emits", allowed: u64::from(limits.emits) });
        }
        let wanted = self.bytes + request.bytes();
        if wanted > limits.emit_bytes {
            return Err(Refusal::Limit { limit: "emit_bytes", allowed: limits.emit_bytes });
        }
        let to = grant.check_emit(&request.to)?;
        grant.check_event_type(&request.kind)?;
        for (name, value) in [
            ("subject", &request.subject),
            ("datacontenttype", &request.datacontenttype),
            ("dataschema", &request.dataschema),
        ] {
            grant.check_attribute(name, value.as_deref())?;
        }
        grant.check_extensions(&request.extensions)?;
        Ok(Emit {
            to,
            kind: request.kind,
            subject: request.subject,
            datacontenttype: request.datacontenttype,
            dataschema: request.dataschema,
            extensions: request.extensions,
            data: request.data,
        })
    }

    /// The first refusal so far.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// The emits, or the first refusal: a call that wanted something it must not do did not succeed.
    pub fn finish(self) -> Result<Vec<Emit>, Refusal> {
        match self.refused {
            Some(refusal) => Err(refusal),
            None => Ok(self.emits),
        }
    }
}

impl Default for EmitCollector {
    fn default() -> Self {
        Self::new()
    }
}

impl EmitRequest {
    /// What counts against `emit_bytes`: the data and everything that travels beside it.
    fn bytes(&self) -> u64 {
        let attributes = [&self.subject, &self.datacontenttype, &self.dataschema];
        let attributes: usize = attributes.into_iter().flatten().map(String::len).sum();
        let extensions: usize = self.extensions.iter().map(|(name, value)| name.len() + value.len()).sum();
        (self.to.len() + self.kind.len() + attributes + extensions + self.data.len()) as u64
    }
}

/// An emit as the guest asked for it, before anything was checked.
#[derive(Debug, Clone, Default)]
pub struct EmitRequest {
    pub to: String,
    pub kind: String,
    pub subject: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    pub extensions: Vec<(String, String)>,
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::SubjectPattern;

    fn refused(request: EmitRequest) -> Option<Refusal> {
        let grant = Grant { emits: vec![SubjectPattern::try_new("out.>").unwrap()] };
        EmitCollector::new().emit(request, &grant, &Limits::default()).err()
    }

    fn request() -> EmitRequest {
        EmitRequest { to: "out.x".into(), kind: "X".into(), ..EmitRequest::default() }
    }

    #[test]
    fn what_nobody_could_read_back_is_refused_before_it_leaves() {
        assert_eq!(refused(request()), None);
        let long = "x".repeat(70_000);
        for subject in ["", "a\nb", &long] {
            let refusal = refused(EmitRequest { subject: Some(subject.to_owned()), ..request() });
            assert!(matches!(refusal, Some(Refusal::BadAttribute(_))), "{refusal:?}");
        }
        let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert!(refused(EmitRequest { extensions: twice, ..request() }).is_some());
        let many = (0..61).map(|number| (format!("a{number}"), String::new())).collect();
        assert!(refused(EmitRequest { extensions: many, ..request() }).is_some());
    }

    #[test]
    fn attributes_count_against_the_bytes_of_a_call() {
        let grant = Grant { emits: vec![SubjectPattern::try_new("out.>").unwrap()] };
        let limits = Limits { emit_bytes: 1000, ..Limits::default() };
        let mut collector = EmitCollector::new();
        let big = || EmitRequest { extensions: vec![("note".to_owned(), "x".repeat(600))], ..request() };
        assert!(collector.emit(big(), &grant, &limits).is_ok());
        assert!(matches!(collector.emit(big(), &grant, &limits), Err(Refusal::Limit { limit: "emit_bytes", .. })));
        assert!(collector.finish().is_err(), "a call with a refused emit fails");
    }
}
