//! `streams`: each subject is stored once, and the server's and the host's own subjects are left alone.

use std::time::Duration;

use super::super::diagnostic::Report;
use super::super::read::{At, List, Optional};
use super::super::{StreamConfig, file};
use super::report_duplicate;
use crate::envelope::Envelope;
use crate::grant;
use crate::name::StreamName;
use crate::subject::SubjectPattern;

/// How long ids are remembered: longer than the longest usual outage, short enough for the server's memory.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// The declared streams. `complete` is false if some of it was unreadable, so that nothing may be concluded from what is
/// not there.
pub(super) struct Streams {
    pub(super) list: Vec<Stream>,
    pub(super) complete: bool,
}

pub(super) struct Stream {
    pub(super) config: StreamConfig,
    /// Whether all of its subjects could be read.
    complete: bool,
    subjects: Vec<At<SubjectPattern>>,
    name: At<StreamName>,
}

impl Streams {
    pub(super) fn get(&self, name: &StreamName) -> Option<&Stream> {
        self.list.iter().find(|stream| stream.config.name == *name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|stream| stream.config.name.as_str())
    }

    /// The stream that stores every subject of the pattern.
    pub(super) fn covering(&self, pattern: &SubjectPattern) -> Option<&StreamConfig> {
        self.list.iter().map(|stream| &stream.config).find(|stream| covers(&stream.subjects, pattern))
    }

    /// The stream that stores some subject of the pattern.
    pub(super) fn overlapping(&self, pattern: &SubjectPattern) -> Option<&StreamConfig> {
        let stores = |stream: &&StreamConfig| stream.subjects.iter().any(|subject| subject.overlaps(pattern));
        self.list.iter().map(|stream| &stream.config).find(stores)
    }
}

impl Stream {
    /// Whether the stream stores every subject of the pattern; true if that is not known.
    pub(super) fn may_cover(&self, pattern: &SubjectPattern) -> bool {
        !self.complete || covers(&self.config.subjects, pattern)
    }
}

fn covers(subjects: &[SubjectPattern], pattern: &SubjectPattern) -> bool {
    subjects.iter().any(|subject| subject.covers(pattern))
}

pub(super) fn compile(file: Optional<List<file::Stream>>, report: &mut Report) -> Streams {
    let Some(At { value: List { items, complete }, .. }) = file else {
        return Streams { list: Vec::new(), complete: true };
    };
    let written = items.len();
    let list: Vec<Stream> = items.into_iter().filter_map(|item| stream(item.value, report)).collect();
    let complete = complete && list.len() == written && list.iter().all(|stream| stream.complete);
    check_names(&list, report);
    check_overlaps(&list, report);
    Streams { list, complete }
}

fn stream(file: file::Stream, report: &mut Report) -> Option<Stream> {
    let (written, readable) =
        file.subjects.0.map_or((Vec::new(), false), |list| (list.value.items, list.value.complete));
    let count = written.len();
    let subjects: Vec<_> = written.into_iter().filter(|subject| may_store(subject, report)).collect();
    let complete = readable && subjects.len() == count;
    let max_age = file.max_age.map(|age| age.value.0);
    let duplicate_window = match (file.duplicate_window, max_age) {
        (Some(window), Some(max_age)) if window.value.0 > max_age => {
            report.error(&window.place, "expected a duration that is not longer than the stream's `max_age`");
            window.value.0
        }
        (Some(window), _) => window.value.0,
        (None, Some(max_age)) => DUPLICATE_WINDOW.min(max_age),
        (None, None) => DUPLICATE_WINDOW,
    };
    let name = file.name.0?;
    let config = StreamConfig {
        name: name.value.clone(),
        subjects: subjects.iter().map(|subject| subject.value.clone()).collect(),
        envelope: file.envelope.map_or(Envelope::default(), |envelope| envelope.value.0),
        max_age,
        max_bytes: file.max_bytes.map(|size| size.value.0),
        duplicate_window,
        replicas: file.replicas.map_or(1, |count| count.value.0 as usize),
    };
    Some(Stream { config, complete, subjects, name })
}

/// False, and reported, if the subject is not the user's.
fn may_store(At { value: subject, place }: &At<SubjectPattern>, report: &mut Report) -> bool {
    let first = subject.as_str().split('.').next().unwrap_or_default();
    if matches!(first, "*" | ">") {
        let hint = "begin with a word: `orders.>`";
        let message = format!("`{subject}` would store the server's and the host's own messages too");
        report.error_with_hint(place, message, hint);
        false
    } else if grant::is_reserved(subject.as_str()) {
        report.error(place, format!("`{subject}` belongs to the server or to the host"));
        false
    } else {
        true
    }
}

fn check_names(list: &[Stream], report: &mut Report) {
    for (index, stream) in list.iter().enumerate() {
        if let Some(first) = list[..index].iter().find(|other| other.name.value == stream.name.value) {
            report_duplicate("stream", stream.name.value.as_str(), &stream.name.place, &first.name.place, report);
        }
    }
}

/// The server refuses overlaps, between streams and within one; the embedded log does as it does.
fn check_overlaps(list: &[Stream], report: &mut Report) {
    let mut seen: Vec<(&Stream, &SubjectPattern)> = Vec::new();
    for stream in list {
        for subject in &stream.subjects {
            if let Some((other, overlapped)) = seen.iter().find(|(_, other)| other.overlaps(&subject.value)) {
                let owner = if std::ptr::eq(*other, stream) {
                    "of the same stream".to_owned()
                } else {
                    format!("of the stream `{}`", other.config.name)
                };
                let message = format!("`{}` overlaps `{overlapped}` {owner}", subject.value);
                report.error_with_hint(&subject.place, message, "each subject is stored once; narrow one of them");
            }
            seen.push((stream, &subject.value));
        }
    }
}
