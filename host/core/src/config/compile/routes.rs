//! `routes` and their `defaults`.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::diagnostic::{Place, Report, shorten};
use super::super::leaf::Text;
use super::super::read::{At, List, Optional};
use super::super::{RouteConfig, Start, file, words};
use super::report_duplicate;
use super::retry::Policies;
use super::streams::{Stream, Streams};
use crate::filter::Filter;
use crate::grant;
use crate::name::StreamName;
use crate::retry::RetryPolicy;
use crate::subject::{Subject, SubjectPattern};

/// Half of what one JetStream consumer needs to be saturated by the fastest handlers; a page of work after a crash.
const MAX_IN_FLIGHT: usize = 256;

/// The compiled routes. `complete` is false if some could not be read.
pub(super) struct Routes {
    pub(super) list: Vec<Route>,
    pub(super) complete: bool,
}

pub(super) struct Route {
    pub(super) config: RouteConfig,
    pub(super) pattern: Option<serde_json::Value>,
    pub(super) name_place: Place,
    /// Where the subject of the dead letters is written; the route itself where it is not.
    dead_letter_place: Place,
}

/// What holds for a route that says nothing else.
pub(super) struct Defaults {
    pub(super) timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) dead_letter: Option<At<Text>>,
    max_in_flight: usize,
}

impl Defaults {
    pub(super) fn compile(file: Optional<file::Defaults>, policies: &Policies, report: &mut Report) -> Self {
        let mut defaults = Self {
            timeout: Duration::from_secs(5),
            retry: policies.standard(),
            dead_letter: None,
            max_in_flight: MAX_IN_FLIGHT,
        };
        let Some(At { value: file, .. }) = file else { return defaults };
        if let Some(timeout) = file.timeout {
            defaults.timeout = timeout.value.0;
        }
        if let Some(policy) = file.retry.and_then(|retry| policies.resolve(retry, report)) {
            defaults.retry = policy;
        }
        if let Some(count) = file.max_in_flight {
            defaults.max_in_flight = count.value.0 as usize;
        }
        defaults.dead_letter = file.dead_letter.and_then(|dead_letter| dead_letter.value.subject);
        defaults
    }
}

pub(super) fn compile(
    file: Optional<List<file::Route>>,
    streams: &Streams,
    policies: &Policies,
    defaults: &Defaults,
    max_hops: u32,
    report: &mut Report,
) -> Routes {
    let Some(At { value: List { items, complete }, .. }) = file else {
        return Routes { list: Vec::new(), complete: true };
    };
    let written = items.len();
    let list: Vec<Route> =
        items.into_iter().filter_map(|item| route(item.value, streams, policies, defaults, max_hops, report)).collect();
    check_names(&list, report);
    check_dead_letters(&list, streams, report);
    Routes { complete: complete && list.len() == written, list }
}

/// Every part is looked at before a missing one ends it.
fn route(
    file: file::Route,
    streams: &Streams,
    policies: &Policies,
    defaults: &Defaults,
    max_hops: u32,
    report: &mut Report,
) -> Option<Route> {
    let emits = file.emits.map_or(Vec::new(), |list| list.value.items);
    emits.iter().for_each(|emit| check_emit(emit, streams, report));
    let filter = file.filter.map(|pattern| filter(pattern.value, report));
    let retry = match file.retry {
        Some(retry) => policies.resolve(retry, report),
        None => Some(defaults.retry.clone()),
    };
    let dead_letter =
        file.dead_letter.and_then(|dead_letter| dead_letter.value.subject).or(defaults.dead_letter.clone());
    let source = file.source.0.map(|source| source.value);
    let source = source.and_then(|source| Source::compile(source, streams, report));
    let name = file.name.0?;
    let dead_letter_place = dead_letter.as_ref().map_or(name.place.clone(), |subject| subject.place.clone());
    let dead_letter = dead_letter_subject(dead_letter, name.value.as_str(), &name.place, report);
    let Source { stream, subjects, start } = source?;
    let (filter, pattern) = match filter {
        Some(compiled) => compiled.map(|(filter, pattern)| (Some(filter), Some(pattern)))?,
        None => (None, None),
    };
    let config = RouteConfig {
        name: name.value,
        stream: stream.config.name.clone(),
        subjects,
        start,
        filter,
        handler: file.handler.0?.value,
        emits: emits.into_iter().map(|emit| emit.value).collect(),
        envelope: stream.config.envelope.clone(),
        timeout: file.timeout.map_or(defaults.timeout, |timeout| timeout.value.0),
        max_in_flight: file.max_in_flight.map_or(defaults.max_in_flight, |count| count.value.0 as usize),
        retry: retry?,
        dead_letter: dead_letter?,
        max_hops,
    };
    Some(Route { config, pattern, name_place: name.place, dead_letter_place })
}

pub(super) fn filter(
    file::Pattern { value, node }: file::Pattern,
    report: &mut Report,
) -> Option<(Filter, serde_json::Value)> {
    match Filter::compile(&value) {
        Ok(filter) => Some((filter, value)),
        Err(problems) => {
            for problem in problems {
                report.push(&node.nearest(&problem.pointer).place, problem.message, problem.hint);
            }
            None
        }
    }
}

/// What nobody stores would be lost, so every emit needs a stream, with either broker.
fn check_emit(At { value: pattern, place }: &At<SubjectPattern>, streams: &Streams, report: &mut Report) {
    if grant::is_reserved(pattern.as_str()) {
        return report.error(place, format!("`{pattern}` cannot be granted: it belongs to the server or to the host"));
    }
    if streams.complete && streams.covering(pattern).is_none() {
        let hint = match streams.overlapping(pattern) {
            Some(stream) => format!("the stream `{}` stores only a part of it", stream.name),
            None => format!("add it to a stream of `streams`: `subjects: [\"{pattern}\"]`"),
        };
        report.error_with_hint(place, format!("no stream of `streams` stores `{pattern}`"), hint);
    }
}

// --- source ------------------------------------------------------------------------------------------------------------

struct Source<'s> {
    stream: &'s Stream,
    subjects: Vec<SubjectPattern>,
    start: Start,
}

impl<'s> Source<'s> {
    fn compile(file: file::Source, streams: &'s Streams, report: &mut Report) -> Option<Self> {
        let start = file.start.map_or(Some(Start::All), |written| start(written, report));
        let subjects = file.subjects.map(|list| list.value.items);
        subjects.iter().for_each(|subjects| check_disjoint(subjects, report));
        let stream = find_stream(file.stream.0?, streams, report)?;
        check_stored(subjects.iter().flatten(), stream, report);
        let subjects = match subjects {
            Some(subjects) => subjects.into_iter().map(|subject| subject.value).collect(),
            None => stream.config.subjects.clone(),
        };
        Some(Self { stream, subjects, start: start? })
    }
}

pub(super) fn find_stream<'s>(name: At<StreamName>, streams: &'s Streams, report: &mut Report) -> Option<&'s Stream> {
    let stream = streams.get(&name.value);
    if stream.is_none() && streams.complete {
        let hint = match words::closest(name.value.as_str(), streams.names()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("declare it: `streams: [{{ name: {}, subjects: [...] }}]`", name.value),
        };
        report.error_with_hint(&name.place, format!("there is no stream `{}` in `streams`", name.value), hint);
    }
    stream
}

/// The server refuses a consumer whose subjects overlap.
pub(super) fn check_disjoint(subjects: &[At<SubjectPattern>], report: &mut Report) {
    for (index, subject) in subjects.iter().enumerate() {
        if let Some(other) = subjects[..index].iter().find(|other| other.value.overlaps(&subject.value)) {
            let message = format!("`{}` overlaps `{}` of the same route", subject.value, other.value);
            report.error_with_hint(&subject.place, message, "remove the narrower one");
        }
    }
}

fn start(At { value, place }: At<file::Start>, report: &mut Report) -> Option<Start> {
    match value {
        file::Start::New => Some(Start::New),
        file::Start::All => Some(Start::All),
        file::Start::At(file::StartAt { sequence: Some(sequence), time: None }) => {
            Some(Start::Sequence(sequence.value.0))
        }
        file::Start::At(file::StartAt { sequence: None, time: Some(time) }) => {
            match OffsetDateTime::parse(&time.value.0, &Rfc3339) {
                Ok(moment) => Some(Start::Time(SystemTime::from(moment))),
                Err(_) => {
                    let found = shorten(&time.value.0);
                    report.error(&time.place, format!("expected a time like `2026-01-31T12:00:00Z`, found `{found}`"));
                    None
                }
            }
        }
        file::Start::At(_) => {
            report.error(&place, "expected one of `sequence` and `time`");
            None
        }
    }
}

pub(super) fn check_stored<'a>(
    subjects: impl IntoIterator<Item = &'a At<SubjectPattern>>,
    stream: &Stream,
    report: &mut Report,
) {
    for subject in subjects.into_iter().filter(|subject| !stream.may_cover(&subject.value)) {
        let hint = format!("it stores {}", words::enumerate(&texts(&stream.config.subjects)));
        let message = format!("the stream `{}` does not store `{}`", stream.config.name, subject.value);
        report.error_with_hint(&subject.place, message, hint);
    }
}

fn texts(patterns: &[SubjectPattern]) -> Vec<String> {
    patterns.iter().map(SubjectPattern::to_string).collect()
}

// --- between routes ----------------------------------------------------------------------------------------------------

fn check_names(list: &[Route], report: &mut Report) {
    for (index, route) in list.iter().enumerate() {
        if let Some(first) = list[..index].iter().find(|other| other.config.name == route.config.name) {
            report_duplicate("route", route.config.name.as_str(), &route.name_place, &first.name_place, report);
        }
    }
}

/// The subject with `{route}` filled in. `None`: a mistake was reported.
pub(super) fn dead_letter_subject(
    written: Option<At<Text>>,
    route: &str,
    route_place: &Place,
    report: &mut Report,
) -> Option<Subject> {
    let At { value: Text(template), place } =
        written.unwrap_or_else(|| At { value: Text("dlq.{route}".to_owned()), place: route_place.clone() });
    let text = template.replace("{route}", route);
    if text.contains(['{', '}']) {
        report.error_with_hint(&place, format!("unknown placeholder in `{template}`"), "`{route}` is the only one");
        return None;
    }
    if grant::is_reserved(&text) {
        report.error(&place, format!("`{text}` belongs to the server or to the host"));
        return None;
    }
    Subject::try_new(&text).map_err(|error| report.error(&place, error.to_string())).ok()
}

/// A dead letter is found by its subject, stream and sequence: two routes with one subject would take the second dead letter
/// of an event for the first. And the broker keeps dead letters in a stream of their own.
fn check_dead_letters(list: &[Route], streams: &Streams, report: &mut Report) {
    for (index, route) in list.iter().enumerate() {
        let subject = &route.config.dead_letter;
        let same = |other: &&Route| other.config.dead_letter == *subject && other.config.name != route.config.name;
        if let Some(other) = list[..index].iter().find(same) {
            let message = format!(
                "the dead letters of the routes `{}` and `{}` would both go to `{subject}`",
                other.config.name, route.config.name
            );
            report.error_with_hint(&route.dead_letter_place, message, "let the subject hold the route: `dlq.{route}`");
        }
        check_dead_letters_apart(subject, &route.dead_letter_place, streams, report);
    }
}

pub(super) fn check_dead_letters_apart(subject: &Subject, place: &Place, streams: &Streams, report: &mut Report) {
    let stored = SubjectPattern::try_new(&format!("{subject}.*.*")).ok();
    if let Some(stream) = stored.and_then(|pattern| streams.overlapping(&pattern)) {
        let message = format!("the dead letters at `{subject}` would be stored by the stream `{}` too", stream.name);
        report.error_with_hint(place, message, "choose a subject outside of every stream of `streams`");
    }
}
