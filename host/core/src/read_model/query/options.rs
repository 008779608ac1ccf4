//! What a question wants beside the documents: which fields, how fresh, how long.

use std::time::Duration;

use super::super::field::FieldPath;
use super::super::store::Positions;
use super::error::QueryError;
use super::parse::Paging;
use crate::name::StreamName;

/// Fields that one question may pick.
const MAX_FIELDS: usize = 64;

const TIMEOUT: &str = "a duration like `500ms` or `2s`";

/// A parameter's name and value, decoded.
pub type Parameter = (String, String);

/// What a question wants beside the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// The members of a document that are given. Empty: the whole document.
    pub fields: Vec<FieldPath>,
    /// The answer must hold what is stored up to here.
    pub wait_for: Option<WaitFor>,
    /// How long it may wait for that; and the whole question may take. `None`: as the configuration says.
    pub timeout: Option<Duration>,
    /// Whether an older answer is taken when the wait ends without a fresh one.
    pub stale: bool,
    pub(super) paging: Paging,
}

/// A place in a stream: `ORDERS:123`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitFor {
    pub stream: StreamName,
    pub sequence: u64,
}

// === impl QueryOptions ===

impl QueryOptions {
    /// Takes the parameters that every question has, and gives the others back in their order.
    pub fn take(params: &[Parameter]) -> Result<(Self, Vec<&Parameter>), QueryError> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        let mut rest = Vec::new();
        for pair in params {
            let (name, value) = (pair.0.as_str(), pair.1.as_str());
            match name {
                "fields" => options.fields = fields(value)?,
                "wait_for" => options.wait_for = Some(WaitFor::parse(value)?),
                "timeout" => options.timeout = Some(duration(value)?),
                "stale" if value == "allow" => options.stale = true,
                "stale" => return Err(QueryError::bad_value(name, "`allow`, or the parameter left out", value)),
                _ => {
                    rest.push(pair);
                    continue;
                }
            }
            if seen.contains(&name) {
                return Err(QueryError::repeated(name));
            }
            seen.push(name);
        }
        Ok((options, rest))
    }

    /// As [`take`](Self::take), where there are no other parameters: for one document.
    pub fn parse(params: &[Parameter]) -> Result<Self, QueryError> {
        match Self::take(params)? {
            (options, rest) if rest.is_empty() => Ok(options),
            (_, rest) => Err(QueryError::NoParameter(super::error::shown(&rest[0].0))),
        }
    }
}

// === impl WaitFor ===

impl WaitFor {
    /// Whether what stands at these positions holds what is waited for.
    pub fn is_reached(&self, positions: &Positions) -> bool {
        positions.get(&self.stream).is_some_and(|position| *position >= self.sequence)
    }

    fn parse(text: &str) -> Result<Self, QueryError> {
        let bad = || QueryError::bad_value("wait_for", "`STREAM:SEQUENCE` like `ORDERS:123`", text);
        let (stream, sequence) = text.split_once(':').ok_or_else(bad)?;
        if !sequence.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        Ok(Self {
            stream: StreamName::try_new(stream).map_err(|_| bad())?,
            sequence: sequence.parse().map_err(|_| bad())?,
        })
    }
}

fn fields(text: &str) -> Result<Vec<FieldPath>, QueryError> {
    let fields: Vec<FieldPath> = text.split(',').map(FieldPath::try_new).collect::<Result<_, _>>()?;
    if fields.len() > MAX_FIELDS {
        return Err(QueryError::bad_value("fields", format!("at most {MAX_FIELDS} fields"), text));
    }
    Ok(fields)
}

fn duration(text: &str) -> Result<Duration, QueryError> {
    let bad = || QueryError::bad_value("timeout", TIMEOUT, text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    // Nine digits of seconds are thirty years.
    let number: u64 = text[..digits.min(9)].parse().map_err(|_| bad())?;
    match &text[digits..] {
        _ if digits > 9 => Err(bad()),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(bad()),
    }
}
