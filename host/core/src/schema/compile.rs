//! A folder of texts to compiled schemas. Everything that is wrong is said at once.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ReferencingError, ValidationError, Validator};
use serde_json::Value;

use super::chain::{Chains, MAX_CHAIN, TooLong};
use super::folder::{self, Folder};
use super::name::{self, FileRole};
use super::violation::Violation;
use super::weight::{MAX_APPLIED, TooHeavy, Weights};
use super::{CompiledSchema, SchemaFile, SchemaProblem, Schemas, Versions, outline};
use crate::json::{self, JsonLimits};
use crate::text::clean_text;

/// The largest schema and the deepest nesting. The schemas of whole industries (FHIR) are split into files below this.
const LIMITS: JsonLimits = JsonLimits { depth: 64, bytes: 1024 * 1024 };
/// Memory of one compiled pattern. Unicode classes with a repetition need megabytes: `^\p{L}{1,100}$` needs six.
const PATTERN_BYTES: usize = 16 * 1024 * 1024;

/// A schema's place is shown up to this many bytes: it holds property names, which may be anything.
const PLACE_BYTES: usize = 240;

/// One file, parsed and looked at.
struct Document {
    path: String,
    role: FileRole,
    value: Value,
}

pub(super) fn compile(files: Vec<SchemaFile>) -> Result<Schemas, Vec<SchemaProblem>> {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for file in files {
        match read(&file) {
            Ok(document) => documents.push(document),
            Err(message) => problems.push(SchemaProblem { path: file.path, message }),
        }
    }
    let folder = Folder::new(documents.iter().map(|document| (document.path.as_str(), &document.value)));
    let mut chains = Chains::new(&folder);
    for document in &documents {
        // The folder's copy is measured, since references lead into that one.
        if let Some((path, value)) = folder.find(&folder::address(&document.path))
            && let Err(TooLong) = chains.check(path, value)
        {
            problems.push(problem(document, too_long()));
        }
    }
    // Every file may refer to every other, so nothing is compiled while one of them is not sound.
    if !problems.is_empty() {
        return Err(sorted(problems));
    }
    // Measured in this order, since the chains bound how much is looked at for one value.
    let mut unexplained = HashSet::new();
    let mut weights = Weights::new(&mut chains);
    for document in &documents {
        let Some((path, value)) = folder.find(&folder::address(&document.path)) else { continue };
        match weights.is_explainable(path, value) {
            Ok(true) => {}
            Ok(false) => drop(unexplained.insert(document.path.as_str())),
            // What leads to a heavy schema is heavy too: the first one is told.
            Err(TooHeavy) => return Err(vec![problem(document, too_heavy())]),
        }
    }
    let outlines = outline::is_needed(documents.iter().map(|document| &document.value)).then(|| {
        let outlined: Vec<_> =
            documents.iter().map(|document| (document.path.as_str(), outline::outline(&document.value))).collect();
        Folder::new(outlined.iter().map(|(path, value)| (*path, value)))
    });
    let mut schemas = Schemas::default();
    for document in &documents {
        let explained = !unexplained.contains(document.path.as_str());
        let compiled = catch_unwind(AssertUnwindSafe(|| compile_one(document, &folder, outlines.as_ref(), explained)));
        // A defect of the validator, met on this schema: the host must not end by it.
        match compiled.unwrap_or_else(|_| Err("makes the validator panic: expected a simpler schema".to_owned())) {
            Ok(Some(compiled)) => add(&mut schemas, compiled, document, &mut problems),
            Ok(None) => {}
            Err(message) => problems.push(problem(document, message)),
        }
    }
    if problems.is_empty() { Ok(schemas) } else { Err(sorted(problems)) }
}

fn sorted(mut problems: Vec<SchemaProblem>) -> Vec<SchemaProblem> {
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

fn problem(document: &Document, message: String) -> SchemaProblem {
    SchemaProblem { path: document.path.clone(), message }
}

fn too_heavy() -> String {
    format!(
        "applies more than {MAX_APPLIED} schemas to the same value (a few `$ref`, `allOf` or `anyOf` that double each other are \
         enough): expected a flatter schema"
    )
}

fn too_long() -> String {
    format!(
        "chains more than {MAX_CHAIN} schemas that apply to the same value (`$ref`, `allOf`, …): expected a flatter schema"
    )
}

/// Parses a file and checks what needs no other file.
fn read(file: &SchemaFile) -> Result<Document, String> {
    let role = name::role(&file.path)?;
    let value =
        json::parse(file.text.as_bytes(), &LIMITS).map_err(|error| format!("is not a usable JSON text: {error}"))?;
    if !value.is_object() && !value.is_boolean() {
        return Err("is not a schema: expected a JSON object".to_owned());
    }
    if let Some(dialect) = value.get("$schema") {
        let dialect = dialect.as_str().ok_or("`$schema` must be a string")?;
        if Draft::default().detect(&value) == Draft::Unknown {
            return Err(format!(
                "`$schema` is `{}`: expected draft 4, 6, 7, 2019-09 or 2020-12, such as `https://json-schema.org/draft/2020-12/schema`",
                clean_text(dialect, 80)
            ));
        }
    }
    if folder::absolute_id(&value).is_none() {
        check_escapes(&file.path, &value)?;
    }
    Ok(Document { path: file.path.clone(), role, value })
}

/// A relative reference must not climb out of the folder. (Nothing would be read there; but a missing file is the wrong
/// answer to a path that can never work.)
fn check_escapes(path: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            if let ("$ref", Value::String(reference)) = (name.as_str(), value) {
                let file = reference.split('#').next().unwrap_or_default();
                if !file.contains(':') && super::chain::join(path, file).is_none() {
                    return Err(format!("`$ref` `{}` leaves the schema folder", clean_text(reference, 80)));
                }
            }
            check_escapes(path, value)
        }),
        Value::Array(items) => items.iter().try_for_each(|value| check_escapes(path, value)),
        _ => Ok(()),
    }
}

fn compile_one(
    document: &Document,
    folder: &Folder,
    outlines: Option<&Folder>,
    explained: bool,
) -> Result<Option<CompiledSchema>, String> {
    let address = folder::address(&document.path);
    // Files that belong to no type are compiled too, so that a mistake in one is reported under its own name.
    let validator = build(&document.value, &address, folder).map_err(|error| explain(&error))?;
    let FileRole::Schema { kind, version } = &document.role else { return Ok(None) };
    let has_references = outline::has_references(&document.value);
    // An outline that cannot be built (a `$ref` into an alternative) costs the explanation, not the schema.
    let outline = match outlines {
        _ if !explained => Some(unexplaining()),
        Some(outlines) if has_references => {
            let outlined = outlines.find(&address).and_then(|(_, value)| build(value, &address, outlines).ok());
            Some(outlined.unwrap_or_else(unexplaining))
        }
        _ => None,
    };
    Ok(Some(CompiledSchema {
        kind: kind.clone(),
        version: version.clone(),
        path: document.path.clone(),
        draft: Draft::default().detect(&document.value),
        validator,
        outline,
        has_references,
        document: (!has_references).then(|| document.value.clone()),
    }))
}

fn build(schema: &Value, address: &str, folder: &Folder) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .with_base_uri(address)
        .with_retriever(folder.clone())
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES))
        .should_validate_formats(true)
        .build(schema)
}

/// Finds nothing wrong; what is wrong is then said in one general sentence.
fn unexplaining() -> Validator {
    #[expect(clippy::expect_used, reason = "the schema is a constant")]
    jsonschema::validator_for(&Value::Bool(true)).expect("`true` is a schema")
}

fn add(schemas: &mut Schemas, compiled: CompiledSchema, document: &Document, problems: &mut Vec<SchemaProblem>) {
    let index = schemas.compiled.len();
    let versions: &mut Versions = schemas.by_type.entry(compiled.kind.clone()).or_default();
    let earlier = match &compiled.version {
        None => versions.unversioned.replace(index),
        Some(version) => {
            let earlier = versions.versioned.iter().find(|(known, _)| known == version).map(|(_, index)| *index);
            versions.versioned.push((version.clone(), index));
            versions.versioned.sort_by(|(a, _), (b, _)| name::compare_versions(a, b));
            earlier
        }
    };
    if let Some(earlier) = earlier {
        let message = format!("is the same type and version as `{}`", schemas.compiled[earlier].path);
        problems.push(problem(document, message));
    }
    if let Some(id) = folder::absolute_id(&document.value)
        && let Some(earlier) = schemas.by_id.insert(id.to_owned(), index)
    {
        problems.push(problem(document, format!("has the same `$id` as `{}`", schemas.compiled[earlier].path)));
    }
    schemas.compiled.push(compiled);
}

/// Why a schema does not compile, in a sentence.
fn explain(error: &ValidationError<'_>) -> String {
    let place = clean_text(error.instance_path().as_str(), PLACE_BYTES);
    match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, source }) => {
            let text = source.to_string();
            // References that the validator meets late do not come to the folder, which has the better words.
            if text.starts_with('`') { text } else { folder::not_found(uri) }
        }
        ValidationErrorKind::Referencing(other) => {
            format!("has a `$ref` that leads nowhere: {}", clean_text(&other.to_string(), 200))
        }
        ValidationErrorKind::Format { format } if format == "regex" => format!(
            "has a bad pattern at `{place}`: `{}` is not a regular expression of the linear-time kind (without look-around \
             and back-references), or it is too large",
            clean_text(error.instance().as_str().unwrap_or_default(), 80)
        ),
        _ => format!("is not a valid schema: {}", Violation::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_admit_what_people_write() {
        let schema = serde_json::json!({ "pattern": "^\\p{L}{1,100}$" });
        assert!(build(&schema, "schemas:///a.json", &Folder::default()).is_ok());
    }
}
