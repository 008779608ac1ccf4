//! The path to a value inside of a document: `status`, `address.city`.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Names of object members, joined by dots. Members whose name has other characters cannot be indexed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Arc<str>);

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a field: expected names of letters, digits, `_` and `-`, at most 8 of them joined by dots and 128 bytes long"
)]
pub struct FieldError(String);

const MAX_BYTES: usize = 128;
const MAX_NAMES: usize = 8;

// === impl FieldPath ===

impl FieldPath {
    pub fn try_new(text: &str) -> Result<Self, FieldError> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        if text.len() <= MAX_BYTES && text.split('.').count() <= MAX_NAMES && text.split('.').all(is_name) {
            Ok(Self(text.into()))
        } else {
            Err(FieldError(text.chars().take(MAX_BYTES).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at this path; `None` where a member is missing or something on the way is no object.
    pub fn of<'v>(&self, document: &'v Map<String, Value>) -> Option<&'v Value> {
        let mut names = self.0.split('.');
        let first = document.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_object()?.get(name))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_through_objects_only() {
        let document = json!({ "a": { "b": [{ "c": 1 }], "d": { "e": null } }, "f": 2 });
        let document = document.as_object().unwrap();
        let at = |path: &str| FieldPath::try_new(path).unwrap().of(document).cloned();
        assert_eq!(at("f"), Some(json!(2)));
        assert_eq!(at("a.d.e"), Some(Value::Null));
        assert_eq!(at("a.b.c"), None);
        assert_eq!(at("f.g"), None);
        assert_eq!(at("x"), None);
    }

    #[test]
    fn what_could_mean_something_to_a_query_or_a_store_is_no_field() {
        for text in
            ["", ".", "a.", ".a", "a..b", "a b", "a'b", "a\"", "a[gte]", "é", "a.b.c.d.e.f.g.h.i", &"x".repeat(129)]
        {
            assert!(FieldPath::try_new(text).is_err(), "{text}");
        }
    }
}
