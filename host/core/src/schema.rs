//! Registered JSON Schemas: one folder, compiled once, asked for every event.
//!
//! ## Names
//!
//! `<type>.json` or `<type>/<version>.json`. The name is percent-encoded: a `/` in an event type is written `%2F`, a `%` is
//! written `%25`, anything else may be (`com.acme:order` is `com.acme:order.json` or, where the file system refuses a
//! colon, `com.acme%3Aorder.json`). A file or folder whose name begins with `_`, and everything deeper than two levels,
//! is there to be referred to and belongs to no type.
//!
//! ## Which version
//!
//! The one that `dataschema` names (the `$id` of a registered schema, or the last segment of the path: `2` in
//! `https://shop.example/schemas/OrderCreated/2.json`), else the one that the envelope names, else the newest.
//! A named version that is not registered is an error, never another version in its place; only a type with nothing but
//! `<type>.json` answers for every version, because whoever keeps one file says that one file fits.
//!
//! ## What must stay true
//!
//! Nothing is fetched: `$ref` reaches the files of the folder and nothing else. Patterns run in linear time. Depth, size
//! and chains of references are bounded before anything is compiled, so that neither a schema nor an event can exhaust
//! the stack; what an event can cost is bounded too (see `schema/weight.rs` and `schema/outline.rs`).

use std::collections::HashMap;

use jsonschema::{Draft, Validator};
use serde_json::Value;

use crate::event::Event;

mod chain;
mod compile;
mod folder;
mod name;
mod outline;
mod violation;
mod weight;

pub use violation::{Violation, Violations};

/// One file of the schema folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// Relative to the folder, with `/` between its parts. Only `.json` files are schemas.
    pub path: String,
    pub text: String,
}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {message}")]
pub struct SchemaProblem {
    pub path: String,
    pub message: String,
}

/// The compiled schemas of one folder. Cheap to ask, shared by all routes.
#[derive(Debug, Default)]
pub struct Schemas {
    compiled: Vec<CompiledSchema>,
    by_type: HashMap<String, Versions>,
    by_id: HashMap<String, usize>,
}

#[derive(Debug)]
struct CompiledSchema {
    kind: String,
    version: Option<String>,
    path: String,
    draft: Draft,
    validator: Validator,
    /// Explains failures where `validator` itself might take for ever to do so.
    outline: Option<Validator>,
    has_references: bool,
    /// The schema itself, where it refers to no other.
    document: Option<Value>,
}

/// The schemas of one event type, as indexes into [`Schemas::compiled`].
#[derive(Debug, Default)]
struct Versions {
    unversioned: Option<usize>,
    /// From the oldest to the newest.
    versioned: Vec<(String, usize)>,
}

/// One schema, for display.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SchemaEntry<'a> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    pub version: Option<&'a str>,
    pub path: &'a str,
    /// Such as `2020-12`.
    pub draft: &'static str,
    /// Whether events that name no version are checked against this one.
    pub newest: bool,
}

/// Why an event did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The type, or the version that the event names, is not registered.
    #[error("{}", missing_text(kind, version.as_deref(), known))]
    Missing { kind: String, version: Option<String>, known: Vec<String> },
    /// The data does not match.
    #[error(transparent)]
    Invalid(Violations),
}

fn missing_text(kind: &str, version: Option<&str>, known: &[String]) -> String {
    let file = name::encode(kind);
    match version {
        Some(version) if !known.is_empty() => format!(
            "there is no schema for `{kind}` version `{version}`: registered are `{}`; expected `{file}/{}.json` in the schema folder",
            known.join("`, `"),
            name::encode(version)
        ),
        _ => format!(
            "there is no schema for `{kind}`: expected `{file}.json` or `{file}/<version>.json` in the schema folder"
        ),
    }
}

// === impl Schemas ===

impl Schemas {
    /// Compiles all files, or says everything that is wrong with them. Reads nothing but its argument.
    pub fn compile(files: Vec<SchemaFile>) -> Result<Schemas, Vec<SchemaProblem>> {
        compile::compile(files)
    }

    /// Checks the event's data, given as the parsed value (`None`: it is not JSON), against its schema.
    pub fn check(&self, event: &Event, data: Option<&Value>) -> Result<(), SchemaError> {
        let schema = self.find(event)?;
        let Some(data) = data else {
            return Err(SchemaError::Invalid(Violations::not_json(event.datacontenttype.as_deref())));
        };
        if schema.validator.is_valid(data) {
            return Ok(());
        }
        Err(SchemaError::Invalid(schema.explain(data)))
    }

    /// All schemas that belong to a type, by type and version.
    pub fn list(&self) -> Vec<SchemaEntry<'_>> {
        let mut entries: Vec<_> = self
            .compiled
            .iter()
            .enumerate()
            .map(|(index, schema)| SchemaEntry {
                kind: &schema.kind,
                version: schema.version.as_deref(),
                path: &schema.path,
                draft: draft_name(schema.draft),
                newest: self.by_type.get(&schema.kind).and_then(Versions::newest) == Some(index),
            })
            .collect();
        entries.sort_by(|a, b| {
            a.kind.cmp(b.kind).then_with(|| match (a.version, b.version) {
                (Some(a), Some(b)) => name::compare_versions(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            })
        });
        entries
    }

    /// The newest schema of a type, in draft 2020-12, where it stands for itself: to be shown inside of another document.
    pub fn standalone(&self, kind: &str) -> Option<&Value> {
        let newest = &self.compiled[self.by_type.get(kind)?.newest()?];
        newest.document.as_ref().filter(|_| newest.draft == Draft::Draft202012)
    }

    pub fn is_empty(&self) -> bool {
        self.compiled.is_empty()
    }

    fn find(&self, event: &Event) -> Result<&CompiledSchema, SchemaError> {
        let Some(versions) = self.by_type.get(&event.kind) else {
            return Err(SchemaError::Missing { kind: event.kind.clone(), version: None, known: Vec::new() });
        };
        let index = match &event.dataschema {
            Some(dataschema) => match self.by_id.get(without_fragment(dataschema)) {
                Some(&index) if self.compiled[index].kind == event.kind => Some(index),
                _ => versions.named(name::version_in(dataschema, &event.kind).as_deref()),
            },
            None => versions.named(event.version.as_deref()),
        };
        index.map(|index| &self.compiled[index]).ok_or_else(|| SchemaError::Missing {
            kind: event.kind.clone(),
            version: match &event.dataschema {
                Some(dataschema) => name::version_in(dataschema, &event.kind),
                None => event.version.clone(),
            },
            known: versions.versioned.iter().map(|(version, _)| version.clone()).collect(),
        })
    }
}

// === impl Versions ===

impl Versions {
    fn newest(&self) -> Option<usize> {
        self.versioned.last().map(|(_, index)| *index).or(self.unversioned)
    }

    fn named(&self, version: Option<&str>) -> Option<usize> {
        match version {
            None => self.newest(),
            Some(_) if self.versioned.is_empty() => self.unversioned,
            Some(version) => self.versioned.iter().find(|(known, _)| known == version).map(|(_, index)| *index),
        }
    }
}

// === impl CompiledSchema ===

/// Stack of the thread that explains why an event is invalid: for 64 levels of data through chains of 64 references. Only
/// what is touched is real memory.
const EXPLAIN_STACK_BYTES: usize = 64 * 1024 * 1024;

impl CompiledSchema {
    /// Says what is wrong with data that did not pass. Collecting errors takes far more stack than asking for validity;
    /// where references can make it deep, it happens on a thread of its own.
    fn explain(&self, data: &Value) -> Violations {
        let collect = || Violations::collect(self.outline.as_ref().unwrap_or(&self.validator), data);
        if !self.has_references {
            return collect();
        }
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("explain".to_owned()).stack_size(EXPLAIN_STACK_BYTES);
            match builder.spawn_scoped(scope, collect) {
                Ok(thread) => thread.join().unwrap_or_else(|_| Violations::unexplained()),
                Err(_) => Violations::unexplained(),
            }
        })
    }
}

fn without_fragment(uri: &str) -> &str {
    uri.split('#').next().unwrap_or_default()
}

fn draft_name(draft: Draft) -> &'static str {
    match draft {
        Draft::Draft4 => "4",
        Draft::Draft6 => "6",
        Draft::Draft7 => "7",
        Draft::Draft201909 => "2019-09",
        _ => "2020-12",
    }
}

#[cfg(test)]
mod tests;
