//! What `$ref` can reach: the files of the folder, by path or by `$id`. Nothing is ever fetched.
//!
//! Each file has the address `schemas:///<path>`. A schema with an absolute `$id` resolves its references against that
//! instead; so that its relative references still find the files beside it, the folder of such a schema also answers
//! under the folder of its `$id`, and the folders above likewise.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use jsonschema::{Retrieve, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

const ROOT: &str = "schemas:///";
/// What an address must not hold as it is; `%` stays, because file names are percent-encoded already.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'^')
    .add(b'#')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'\\');

/// The files of the folder by their addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder(Arc<Contents>);

#[derive(Debug, Default)]
struct Contents {
    by_path: HashMap<String, Value>,
    path_by_id: HashMap<String, String>,
    /// An address ending in `/`, and the folder (empty, or ending in `/`) that it stands for.
    mounts: Vec<(String, String)>,
}

/// The address of a file.
pub(super) fn address(path: &str) -> String {
    format!("{ROOT}{}", utf8_percent_encode(path, ENCODED))
}

/// The `$id` (draft 4: `id`) of a document if it is an absolute URI; without an empty fragment.
pub(super) fn absolute_id(document: &Value) -> Option<&str> {
    let id = document.get("$id").or_else(|| document.get("id"))?.as_str()?.trim_end_matches('#');
    Uri::parse(id).is_ok().then_some(id)
}

impl Folder {
    pub(super) fn new<'a>(files: impl Iterator<Item = (&'a str, &'a Value)>) -> Self {
        let mut contents = Contents::default();
        for (path, document) in files {
            contents.by_path.insert(path.to_owned(), document.clone());
            if let Some(id) = absolute_id(document) {
                contents.path_by_id.insert(id.to_owned(), path.to_owned());
                contents.mounts.extend(mounts(id, path));
            }
        }
        Self(Arc::new(contents))
    }

    /// The file that an address means.
    pub(super) fn find(&self, uri: &str) -> Option<(&str, &Value)> {
        let contents = &*self.0;
        let by_path = |path: &str| contents.by_path.get_key_value(path).map(|(path, value)| (path.as_str(), value));
        if let Some(path) = contents.path_by_id.get(uri) {
            return by_path(path);
        }
        // An address is looked up as it is written and unescaped: a file name may be either.
        let lookup = |path: &str| {
            by_path(path).or_else(|| by_path(&percent_encoding::percent_decode_str(path).decode_utf8_lossy()))
        };
        if let Some(path) = uri.strip_prefix(ROOT) {
            return lookup(path);
        }
        contents.mounts.iter().find_map(|(mount, folder)| lookup(&format!("{folder}{}", uri.strip_prefix(mount)?)))
    }
}

/// The folders of the `$id` beside the folders of the path, from the inside out.
fn mounts(id: &str, path: &str) -> Vec<(String, String)> {
    fn parent(text: &str) -> Option<&str> {
        let text = text.strip_suffix('/').unwrap_or(text);
        text.rfind('/').map(|at| &text[..=at])
    }
    let mut pairs = Vec::new();
    let (mut address, mut folder) = (parent(id), parent(path).unwrap_or(""));
    while let Some(current) = address.filter(|address| !address.ends_with("//")) {
        pairs.push((current.to_owned(), folder.to_owned()));
        if folder.is_empty() {
            break;
        }
        address = parent(current);
        folder = parent(folder).unwrap_or("");
    }
    pairs
}

impl Retrieve for Folder {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        match self.find(uri.as_str()) {
            Some((_, document)) => Ok(document.clone()),
            None => Err(not_found(uri.as_str()).into()),
        }
    }
}

/// Says that a reference leads out of the folder, or to nothing in it.
pub(super) fn not_found(uri: &str) -> String {
    match uri.strip_prefix(ROOT) {
        Some(path) => format!("`$ref` leads to `{path}`, which is not in the schema folder"),
        None => format!(
            "`$ref` leads to `{uri}`, which is not in the schema folder; nothing is fetched: put that schema into the folder and \
             refer to it by its path or its `$id`"
        ),
    }
}
