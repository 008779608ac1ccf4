//! Values by which documents are found and sorted, as bytes.
//!
//! Bytes compare the same in every store; JSON values, SQL types and collations do not. The order is total over all values:
//! nothing there < `null` < `false` < `true` < numbers < texts < everything else. So a field with mixed types has one order in
//! every store, and a page never jumps between them. Numbers compare as 64-bit floats, texts by their UTF-8 bytes; arrays and
//! objects are all alike: they cannot be searched for.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// A value of an indexed field. Its order is the order of its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexValue(Box<[u8]>);

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const TEXT: u8 = 5;
const OTHER: u8 = 6;

// === impl IndexValue ===

impl IndexValue {
    /// The longest text that can be indexed, in bytes. PostgreSQL's indexes refuse rows of more than some 2700 bytes, and
    /// an index may have several fields.
    pub const MAX_TEXT_BYTES: usize = 512;

    /// The value of a field; `None` for a field that is not there.
    ///
    /// # Errors
    ///
    /// The length of a text that is longer than [`MAX_TEXT_BYTES`](Self::MAX_TEXT_BYTES).
    pub fn of(value: Option<&Value>) -> Result<Self, usize> {
        let Some(value) = value else { return Ok(Self::missing()) };
        Ok(Self(match value {
            Value::Null => Box::new([NULL]),
            Value::Bool(false) => Box::new([FALSE]),
            Value::Bool(true) => Box::new([TRUE]),
            Value::Number(number) => number_bytes(number.as_f64().unwrap_or_default()).into(),
            Value::String(text) if text.len() > Self::MAX_TEXT_BYTES => return Err(text.len()),
            Value::String(text) => [&[TEXT], text.as_bytes()].concat().into(),
            Value::Array(_) | Value::Object(_) => Box::new([OTHER]),
        }))
    }

    /// Of a field that is not there.
    pub fn missing() -> Self {
        Self(Box::new([]))
    }

    /// All values of this one's type, as the lowest of them and the first above them; `None` for types without an order that
    /// anybody would ask for.
    pub(super) fn kin(&self) -> Option<(Self, Self)> {
        match self.0.first() {
            Some(&kind @ (NUMBER | TEXT)) => Some((Self(Box::new([kind])), Self(Box::new([kind + 1])))),
            _ => None,
        }
    }

    /// The texts that begin with this one, as the lowest of them and the first above them; `None` if it is no text.
    pub(super) fn beginning_with(&self) -> Option<(Self, Self)> {
        let (&TEXT, text) = self.0.split_first()? else { return None };
        let mut above = self.0.to_vec();
        match text.len() {
            0 => above = vec![OTHER],
            // The bytes of UTF-8 end below 0xff, so there is always a next one.
            end => above[end] += 1,
        }
        Some((self.clone(), Self(above.into())))
    }

    /// As a store keeps it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a store kept it.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for IndexValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_first() {
            Some((&TEXT, text)) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            _ => write!(f, "{:02x?}", self.0),
        }
    }
}

/// Bytes that compare as the numbers do: the sign is flipped, and of a negative number all bits, because those grow downwards.
fn number_bytes(number: f64) -> [u8; 9] {
    // JSON tells -0 from 0, nobody who searches does.
    let number = if number.partial_cmp(&0.0) == Some(Ordering::Equal) { 0.0 } else { number };
    let bits = number.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let mut bytes = [NUMBER; 9];
    bytes[1..].copy_from_slice(&ordered.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value(value: Value) -> IndexValue {
        IndexValue::of(Some(&value)).unwrap()
    }

    #[test]
    fn the_order_is_total_over_all_types() {
        let ascending = [
            IndexValue::missing(),
            value(json!(null)),
            value(json!(false)),
            value(json!(true)),
            value(json!(-1e300)),
            value(json!(-2)),
            value(json!(-1.5)),
            value(json!(0)),
            value(json!(1)),
            value(json!(1.5)),
            value(json!(10)),
            value(json!(u64::MAX)),
            value(json!("")),
            value(json!("10")),
            value(json!("9")),
            value(json!("Z")),
            value(json!("a")),
            value(json!("ä")),
            value(json!([])),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
        assert_eq!(value(json!(-0.0)), value(json!(0)));
        assert_eq!(value(json!(2)), value(json!(2.0)));
    }

    #[test]
    fn a_text_that_no_index_takes_is_refused() {
        assert!(IndexValue::of(Some(&json!("x".repeat(512)))).is_ok());
        assert_eq!(IndexValue::of(Some(&json!("x".repeat(513)))), Err(513));
    }

    #[test]
    fn the_bounds_of_a_type_hold_all_of_it_and_nothing_else() {
        let within = |bounds: &(IndexValue, IndexValue), it: Value| (&bounds.0..&bounds.1).contains(&&value(it));
        let numbers = value(json!(7)).kin().unwrap();
        let texts = value(json!("x")).kin().unwrap();
        for number in [json!(f64::MIN), json!(0), json!(f64::MAX)] {
            assert!(within(&numbers, number.clone()) && !within(&texts, number));
        }
        for text in [json!(""), json!("\u{10ffff}")] {
            assert!(within(&texts, text.clone()) && !within(&numbers, text));
        }
        for other in [json!(null), json!(true), json!([])] {
            assert!(!within(&texts, other.clone()) && !within(&numbers, other.clone()));
            assert_eq!(value(other).kin(), None);
        }
    }

    proptest! {
        #[test]
        fn the_bounds_of_a_prefix_are_what_begins_with_it(prefix in "[a-c\u{7f}é\u{10ffff}]{0,2}", text in "[a-d\u{7f}é\u{10ffff}]{0,3}") {
            let (from, to) = value(json!(prefix)).beginning_with().unwrap();
            let found = value(json!(text));
            prop_assert_eq!(from <= found && found < to, text.starts_with(&prefix));
        }

        #[test]
        fn numbers_keep_their_order(a: f64, b: f64) {
            prop_assume!(a.is_finite() && b.is_finite());
            prop_assert_eq!(value(json!(a)).cmp(&value(json!(b))), a.partial_cmp(&b).unwrap());
        }
    }
}
