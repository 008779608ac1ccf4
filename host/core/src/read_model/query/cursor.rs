//! Where a page ended, as a text that a client gives back.
//!
//! It holds the copy of the read model, a digest of the question, and the last document's sorted values and key: a page goes
//! on behind that document whatever was written meanwhile. It is not signed: whoever changes one reads from another place of
//! what may be read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::super::document::check_key;
use super::super::index_value::IndexValue;
use super::error::QueryError;

/// The form below. Another one gets another number.
const FORM: u8 = 1;

/// Sums what makes a question another one. It must not change while clients hold cursors.
const NAMESPACE: Uuid = Uuid::from_u128(0x9f0b_6c39_3d0e_4b8e_a4c4_4f5b_7d1c_02e5);

/// Longer texts are nobody's cursor: four sorted texts and a key fit.
const MAX_TEXT: usize = 8192;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) copy: u64,
    pub(super) question: Uuid,
    pub(super) values: Vec<IndexValue>,
    pub(super) key: String,
}

/// The digest of a question: its collection, filters and order.
pub(super) fn digest<'a>(collection: &str, parts: impl Iterator<Item = (&'a str, &'a str)>) -> Uuid {
    let mut parts: Vec<(&str, &str)> = parts.collect();
    parts.sort_unstable();
    // As JSON, because then no two questions have the same text.
    Uuid::new_v5(&NAMESPACE, serde_json::json!([collection, parts]).to_string().as_bytes())
}

// === impl Cursor ===

impl Cursor {
    pub(super) fn encode(&self) -> String {
        let mut bytes = vec![FORM];
        bytes.extend(self.copy.to_be_bytes());
        bytes.extend(self.question.as_bytes());
        bytes.push(self.values.len() as u8);
        for value in &self.values {
            bytes.extend((value.as_bytes().len() as u16).to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        bytes.extend(self.key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn decode(text: &str) -> Result<Self, QueryError> {
        let bad = || QueryError::BadCursor("it is damaged");
        if text.len() > MAX_TEXT {
            return Err(bad());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let mut rest = bytes.as_slice();
        let mut take = |count: usize| rest.split_off(..count).ok_or_else(bad);
        if take(1)? != [FORM] {
            return Err(QueryError::BadCursor("it is of another version of Tidemill"));
        }
        let copy = u64::from_be_bytes(take(8)?.try_into().map_err(|_| bad())?);
        let question = Uuid::from_slice(take(16)?).map_err(|_| bad())?;
        let count = take(1)?[0];
        let mut values = Vec::new();
        for _ in 0..count {
            let length = u16::from_be_bytes(take(2)?.try_into().map_err(|_| bad())?);
            values.push(IndexValue::from_bytes(take(usize::from(length))?));
        }
        let key = String::from_utf8(rest.to_vec()).map_err(|_| bad())?;
        check_key(&key).map_err(|_| bad())?;
        Ok(Self { copy, question, values, key })
    }
}
