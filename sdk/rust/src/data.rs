//! Reading an event's data, and saying precisely what does not fit.
//!
//! The happy path is one `serde_json::from_slice`. The place of a mistake is found afterwards, from the position that
//! `serde_json` reports: tracking the path while reading (as `serde_path_to_error` does) would compile every author's
//! types twice, which costs more bytes than the rest of this crate.

use serde::de::DeserializeOwned;

use crate::{Failure, reject};

/// What [`Handler::Data`](crate::Handler::Data) and [`Projection::Data`](crate::Projection::Data) may be. Implemented for everything that `serde` can read, and for [`Raw`].
pub trait FromData: Sized {
    /// Reads the data, or rejects the event.
    fn from_data(data: Raw) -> Result<Self, Failure>;
}

/// The data byte for byte: for formats other than JSON, and for plugins that take events of several types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// The data, read as JSON of this type, for plugins that take events of several types. What does not fit is rejected, with
    /// the place and the reason.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        read(&self.0, "the event's data")
    }
}

impl<T: DeserializeOwned> FromData for T {
    fn from_data(data: Raw) -> Result<Self, Failure> {
        data.read()
    }
}

impl FromData for Raw {
    fn from_data(data: Raw) -> Result<Self, Failure> {
        Ok(data)
    }
}

impl std::ops::Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads JSON, or rejects what `what` names.
pub(crate) fn read<T: DeserializeOwned>(data: &[u8], what: &str) -> Result<T, Failure> {
    serde_json::from_slice(data).map_err(|error| misfit(what, data, &error))
}

// Not generic, so that it exists once in a component, however many types it serves.
fn misfit(what: &str, data: &[u8], error: &serde_json::Error) -> Failure {
    let position = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let problem = text.strip_suffix(&position).unwrap_or(&text);
    if !error.is_data() {
        return reject(format!("{what} is not JSON: {text}"));
    }
    match pointer_at(data, offset(data, error.line(), error.column())) {
        Some(pointer) if !pointer.is_empty() => reject(format!("{what} does not fit: `{pointer}`: {problem}")),
        _ => reject(format!("{what} does not fit: {problem}")),
    }
}

/// The number of bytes before a position in `serde_json`'s terms: lines from 1, columns counted in bytes.
fn offset(data: &[u8], line: usize, column: usize) -> usize {
    let before: usize = data.split(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(|line| line.len() + 1).sum();
    before + column
}

/// The JSON pointer of the value that begins or ends at `target`, or else of the innermost one around it. `serde_json`
/// stops right after a value of a wrong type or with a missing field, and right before a list or object where neither
/// was expected. `None` where the text is not the JSON that it was a moment ago.
fn pointer_at(data: &[u8], target: usize) -> Option<String> {
    let mut scanner = Scanner { data, at: 0, path: String::new() };
    scanner.value(target).and_then(|found| found)
}

struct Scanner<'a> {
    data: &'a [u8],
    at: usize,
    path: String,
}

impl Scanner<'_> {
    /// Passes over one value. The outer `None`: not JSON; the inner: the target is further on.
    fn value(&mut self, target: usize) -> Option<Option<String>> {
        self.blanks();
        if self.at >= target {
            return Some(Some(self.path.clone()));
        }
        let found = match self.data.get(self.at)? {
            b'{' => self.members(b'}', target)?,
            b'[' => self.members(b']', target)?,
            b'"' => self.string().map(|_| None)?,
            _ => self.word(),
        };
        Some(found.or_else(|| (self.at >= target).then(|| self.path.clone())))
    }

    /// Passes over the members of an object or the items of a list.
    fn members(&mut self, close: u8, target: usize) -> Option<Option<String>> {
        self.at += 1;
        let parent = self.path.len();
        for index in 0_usize.. {
            self.blanks();
            if self.data.get(self.at)? == &close {
                break;
            }
            let name = if close == b'}' { self.name()? } else { index.to_string() };
            self.path.push('/');
            self.path.push_str(&name.replace('~', "~0").replace('/', "~1"));
            if let Some(found) = self.value(target)? {
                return Some(Some(found));
            }
            self.path.truncate(parent);
            self.blanks();
            if self.data.get(self.at)? == &b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Some(None)
    }

    fn name(&mut self) -> Option<String> {
        let start = self.at;
        self.string()?;
        let name = serde_json::from_slice(&self.data[start..self.at]).ok()?;
        self.blanks();
        self.at += 1;
        Some(name)
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.data.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Option<String> {
        while self.data.get(self.at).is_some_and(|byte| !b",]} \t\r\n".contains(byte)) {
            self.at += 1;
        }
        None
    }

    fn blanks(&mut self) {
        while self.data.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Order {
        id: String,
        items: Vec<Item>,
        address: Option<Address>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Item {
        price: f64,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Address {
        #[serde(rename = "a/b")]
        country: String,
    }

    #[test]
    fn a_misfit_names_the_place_and_the_problem() {
        for (data, expected) in [
            (r#"{"id":"1"}"#, "missing field `items`"),
            (r#"{"id":7,"items":[]}"#, "`/id`: invalid type: integer `7`, expected a string"),
            (r#"{"id":["x"],"items":[]}"#, "`/id`: invalid type: sequence, expected a string"),
            (r#"{"id":"1","items":{}}"#, "`/items`: invalid type: map, expected a sequence"),
            (
                "{\"id\":\"}\\\"]\",\n \"items\": [ {\"price\": 1.5},\n {\"price\": \"2\"} ]}",
                "`/items/1/price`: invalid type: string \"2\", expected f64",
            ),
            (r#"{"id":"1","items":[{"price":1},{"x":{}}]}"#, "`/items/1`: missing field `price`"),
            (
                r#"{"items":[],"address":{"a/b":true}}"#,
                "`/address/a~1b`: invalid type: boolean `true`, expected a string",
            ),
            ("[]", "invalid length 0, expected struct Order with 3 elements"),
        ] {
            let failure = Order::from_data(Raw(data.into())).unwrap_err();
            assert_eq!(failure, reject(format!("the event's data does not fit: {expected}")), "{data}");
        }
    }

    #[test]
    fn what_is_no_json_is_rejected_too() {
        let failure = Order::from_data(Raw(b"{\"id\":".to_vec())).unwrap_err();
        assert_eq!(failure, reject("the event's data is not JSON: EOF while parsing a value at line 1 column 6"));
    }

    #[test]
    fn no_position_in_any_text_makes_the_search_panic() {
        let text = br#" {"a":[1,{"b\"":null},"x"],"c":-1e5} "#;
        for end in 0..=text.len() {
            for target in 0..=text.len() + 2 {
                pointer_at(&text[..end], target);
            }
        }
    }
}
