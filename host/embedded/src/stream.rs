//! A stream's settings, kept and compared, and its extent: the sequences it holds and how large it is.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use tidemill_core::config::StreamConfig;
use tidemill_core::name::StreamName;
use tidemill_core::port::BrokerError;
use tidemill_core::subject::SubjectPattern;

use crate::keys;
use crate::row::{Damaged, RowReader, RowWriter};
use crate::store::Table;
use crate::transaction::Transaction;

/// The beginning of names that are kept for what a broker needs for itself, in any case.
const RESERVED: &str = "tidemill";

#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) settings: Settings,
    pub(crate) extent: Extent,
    pub(crate) messages: Table,
}

/// What of a stream's configuration concerns the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: StreamName,
    pub(crate) subjects: Vec<SubjectPattern>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) duplicate_window: Duration,
}

/// Which sequences a stream holds. They are dense: `first` to below `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    /// When the last message was stored; times do not run backwards within a stream.
    pub(crate) last_stored: SystemTime,
}

/// Creates the streams that are missing, all or none.
pub(crate) fn provision(tx: &mut Transaction<'_>, wanted: Vec<Settings>) -> Result<(), BrokerError> {
    let mut missing: Vec<Settings> = Vec::new();
    for settings in wanted {
        if settings.name.as_str().to_ascii_lowercase().starts_with(RESERVED) {
            return Err(BrokerError::Refused(format!(
                "the stream name `{}` is reserved: names that begin with `{RESERVED}` belong to the host; choose another",
                settings.name
            )));
        }
        match tx.ledger.streams.iter().find(|known| known.settings.name == settings.name) {
            Some(known) => check_same(&known.settings, &settings)?,
            None => missing.push(settings),
        }
    }
    for (index, settings) in missing.iter().enumerate() {
        let known = tx.ledger.streams.iter().map(|stream| &stream.settings);
        check_apart(settings, known.chain(&missing[..index]))?;
    }
    for settings in missing {
        create(tx, settings)?;
    }
    Ok(())
}

fn create(tx: &mut Transaction<'_>, settings: Settings) -> Result<(), BrokerError> {
    let index = tx.ledger.streams.len();
    let messages = tx.create_message_table(index, &settings.name)?;
    tx.put(Table::META, keys::stream(index), settings.encode());
    tracing::info!(stream = %settings.name, "created a stream");
    tx.ledger.streams.push(Stream { settings, extent: Extent::default(), messages });
    Ok(())
}

/// Two streams with a subject in common would store a message twice, or nobody would know where.
fn check_apart<'a>(settings: &Settings, others: impl Iterator<Item = &'a Settings>) -> Result<(), BrokerError> {
    for other in others {
        for (mine, theirs) in settings.subjects.iter().flat_map(|mine| other.subjects.iter().map(move |t| (mine, t))) {
            if mine.overlaps(theirs) {
                return Err(BrokerError::Incompatible(format!(
                    "the stream `{}` cannot capture `{mine}`: `{theirs}` of the stream `{}` captures some of it already",
                    settings.name, other.name
                )));
            }
        }
    }
    Ok(())
}

fn check_same(existing: &Settings, wanted: &Settings) -> Result<(), BrokerError> {
    if existing == wanted {
        return Ok(());
    }
    let mut text = format!("the stream `{}` exists with other settings:", wanted.name);
    let mut differs = |field: &str, existing: String, wanted: String| {
        if existing != wanted {
            // Writing to a string cannot fail.
            let _ = write!(text, " `{field}` is {existing}, `runtime.yaml` wants {wanted};");
        }
    };
    let age = |age: Option<Duration>| age.map_or("unlimited".to_owned(), |age| format!("{age:?}"));
    let bytes = |bytes: Option<u64>| bytes.map_or("unlimited".to_owned(), |bytes| format!("{bytes} bytes"));
    differs("subjects", existing.show_subjects(), wanted.show_subjects());
    differs("max_age", age(existing.max_age), age(wanted.max_age));
    differs("max_bytes", bytes(existing.max_bytes), bytes(wanted.max_bytes));
    differs("duplicate_window", format!("{:?}", existing.duplicate_window), format!("{:?}", wanted.duplicate_window));
    text.push_str(" change `runtime.yaml` back, or give the stream another name");
    Err(BrokerError::Incompatible(text))
}

// === impl Settings ===

impl Settings {
    pub(crate) fn of(config: &StreamConfig) -> Self {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        subjects.dedup();
        Self {
            name: config.name.clone(),
            subjects,
            max_age: config.max_age,
            max_bytes: config.max_bytes,
            duplicate_window: config.duplicate_window,
        }
    }

    pub(crate) fn captures(&self, subject: &str) -> bool {
        self.subjects.iter().any(|pattern| pattern.matches(subject))
    }

    fn show_subjects(&self) -> String {
        let quoted: Vec<_> = self.subjects.iter().map(|pattern| format!("`{pattern}`")).collect();
        quoted.join(", ")
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = RowWriter::default();
        row.text(self.name.as_str()).number(self.subjects.len() as u64);
        for pattern in &self.subjects {
            row.text(pattern.as_str());
        }
        row.maybe(self.max_age.map(nanos)).maybe(self.max_bytes).number(nanos(self.duplicate_window));
        row.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, Damaged> {
        let mut row = RowReader::new(row, "a stream's settings");
        let name = row.stream()?;
        let subjects = (0..row.small_number()?).map(|_| row.pattern()).collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            subjects,
            max_age: row.maybe()?.map(Duration::from_nanos),
            max_bytes: row.maybe()?,
            duplicate_window: Duration::from_nanos(row.number()?),
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

// === impl Extent ===

impl Extent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = RowWriter::with_capacity(32);
        row.number(self.first).number(self.end).number(self.bytes).time(self.last_stored);
        row.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, Damaged> {
        let mut row = RowReader::new(row, "a stream's extent");
        Ok(Self { first: row.number()?, end: row.number()?, bytes: row.number()?, last_stored: row.time()? })
    }
}

impl Default for Extent {
    /// An empty stream: the first message gets sequence 1.
    fn default() -> Self {
        Self { first: 1, end: 1, bytes: 0, last_stored: SystemTime::UNIX_EPOCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_extents_are_read_as_written() {
        let settings = Settings {
            name: StreamName::try_new("ORDERS").unwrap(),
            subjects: vec![SubjectPattern::try_new("orders.>").unwrap()],
            max_age: Some(Duration::from_secs(60)),
            max_bytes: None,
            duplicate_window: Duration::from_millis(1500),
        };
        assert_eq!(Settings::decode(&settings.encode()).unwrap(), settings);
        let extent = Extent { first: 3, end: 90_000, bytes: 7, last_stored: crate::row::from_nanos(12) };
        assert_eq!(Extent::decode(&extent.encode()).unwrap(), extent);
    }

    #[test]
    fn a_difference_reads_as_a_sentence() {
        let existing = Settings {
            name: StreamName::try_new("ORDERS").unwrap(),
            subjects: vec![SubjectPattern::try_new("orders.>").unwrap()],
            max_age: None,
            max_bytes: Some(1024),
            duplicate_window: Duration::from_secs(120),
        };
        let wanted = Settings {
            subjects: vec![SubjectPattern::try_new("order.>").unwrap()],
            max_age: Some(Duration::from_secs(60)),
            ..existing.clone()
        };
        assert_eq!(
            check_same(&existing, &wanted).unwrap_err().to_string(),
            "the stream `ORDERS` exists with other settings: `subjects` is `orders.>`, `runtime.yaml` wants `order.>`; \
             `max_age` is unlimited, `runtime.yaml` wants 60s; change `runtime.yaml` back, or give the stream another name"
        );
    }
}
