//! Bounds what one value costs in stack before a schema is compiled.
//!
//! A validator descends with the data, which is at most 64 deep, and at every level through all schemas that apply to the
//! same value: `allOf`, `$ref` and the like. Chains of those are not bounded by the nesting of the text, since a hundred
//! definitions can each refer to the next. So the longest chain is measured here. A circle of references is no chain: the
//! validator notices that it has been there with the same value.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::folder::Folder;

/// The longest chain of schemas that apply to one value. Schemas in use have less than ten.
pub(super) const MAX_CHAIN: usize = 64;

/// Keywords whose schemas apply to the value itself.
pub(super) const IN_PLACE: [&str; 11] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
    "extends",
    "propertyNames",
];
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Measures chains over all files of a folder.
pub(super) struct Chains<'a> {
    folder: &'a Folder,
    /// The longest chain that begins at a schema, by the schema's place in memory; `None` while it is being measured.
    measured: HashMap<*const Value, Option<usize>>,
    anchors: HashMap<&'a str, HashMap<&'a str, &'a Value>>,
}

/// The chain is longer than [`MAX_CHAIN`].
#[derive(Debug)]
pub(super) struct TooLong;

impl<'a> Chains<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Self { folder, measured: HashMap::new(), anchors: HashMap::new() }
    }

    /// Measures every chain that begins somewhere in the document.
    pub(super) fn check(&mut self, path: &'a str, document: &'a Value) -> Result<(), TooLong> {
        self.measure(path, document, 0)?;
        match document {
            Value::Object(members) => members.values().try_for_each(|value| self.check(path, value)),
            Value::Array(items) => items.iter().try_for_each(|value| self.check(path, value)),
            _ => Ok(()),
        }
    }

    fn measure(&mut self, path: &'a str, schema: &'a Value, depth: usize) -> Result<usize, TooLong> {
        let Value::Object(members) = schema else { return Ok(0) };
        if depth > MAX_CHAIN {
            return Err(TooLong);
        }
        match self.measured.get(&std::ptr::from_ref(schema)) {
            Some(Some(length)) if depth + length > MAX_CHAIN => return Err(TooLong),
            Some(length) => return Ok(length.unwrap_or(0)),
            None => {}
        }
        self.measured.insert(schema, None);
        let mut longest = 0;
        for (keyword, value) in members {
            if REFERENCES.contains(&keyword.as_str()) {
                if let Some((path, target)) = value.as_str().and_then(|reference| self.resolve(path, reference)) {
                    longest = longest.max(1 + self.measure(path, target, depth + 1)?);
                }
            } else if IN_PLACE.contains(&keyword.as_str()) {
                for inner in schemas_in(keyword, value) {
                    longest = longest.max(1 + self.measure(path, inner, depth + 1)?);
                }
            }
        }
        self.measured.insert(schema, Some(longest));
        Ok(longest)
    }

    /// The schema that a reference means, as far as that is needed here: a part of the same file, or of another file by
    /// its path or `$id`. What this does not find is left to the compiler, which refuses what it does not find.
    pub(super) fn resolve(&mut self, path: &'a str, reference: &str) -> Option<(&'a str, &'a Value)> {
        let (file, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let folder: &'a Folder = self.folder;
        let (path, document) = if file.is_empty() {
            folder.find(&super::folder::address(path))?
        } else {
            folder.find(file).or_else(|| folder.find(&super::folder::address(&join(path, file)?)))?
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        if fragment.is_empty() || fragment.starts_with('/') {
            return document.pointer(&fragment).map(|target| (path, target));
        }
        let anchors = self.anchors.entry(path).or_insert_with(|| {
            let mut found = HashMap::new();
            collect_anchors(document, &mut found);
            found
        });
        anchors.get(&*fragment).map(|target| (path, *target))
    }
}

/// The schemas directly inside of a keyword: the value itself, or the items or members of it.
pub(super) fn schemas_in<'a>(keyword: &str, value: &'a Value) -> Vec<&'a Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) if matches!(keyword, "dependentSchemas" | "dependencies") => members.values().collect(),
        Value::Object(_) => vec![value],
        _ => Vec::new(),
    }
}

fn collect_anchors<'a>(value: &'a Value, found: &mut HashMap<&'a str, &'a Value>) {
    match value {
        Value::Object(members) => {
            for (keyword, name) in members {
                let name = name.as_str().unwrap_or_default();
                match keyword.as_str() {
                    "$anchor" | "$dynamicAnchor" => found.insert(name, value),
                    "$id" | "id" => name.strip_prefix('#').and_then(|name| found.insert(name, value)),
                    _ => None,
                };
            }
            members.values().for_each(|value| collect_anchors(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_anchors(value, found)),
        _ => {}
    }
}

/// A relative reference against the path of the file that holds it; `None` when it leaves the folder.
pub(super) fn join(path: &str, reference: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    if reference.starts_with('/') {
        parts.clear();
    }
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
