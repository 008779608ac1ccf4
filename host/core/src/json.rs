//! Untrusted bytes to a JSON value, within limits.

use serde_json::Value;

/// How large and how deep a JSON text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Nested arrays and objects.
    pub max_depth: usize,
    pub max_bytes: usize,
}

/// Why bytes are not an acceptable JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl Default for JsonLimits {
    fn default() -> Self {
        Self { max_depth: 64, max_bytes: 8 * 1024 * 1024 }
    }
}

/// Parses a JSON text.
pub fn parse(bytes: &[u8], limits: &JsonLimits) -> Result<Value, JsonError> {
    if bytes.len() > limits.max_bytes {
        return Err(JsonError(format!("expected at most {} bytes of JSON, found {}", limits.max_bytes, bytes.len())));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| JsonError(error.to_string()))?;
    if depth(&value) > limits.max_depth {
        return Err(JsonError(format!("expected at most {} nested arrays and objects", limits.max_depth)));
    }
    Ok(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
