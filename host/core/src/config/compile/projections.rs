//! `read_models` and `projections`.

use std::time::Duration;

use super::super::diagnostic::{Place, Report};
use super::super::read::{At, List, Optional};
use super::super::{
    OnFailure, PostgresConfig, ProjectionConfig, ProjectionSource, ReadModelsConfig, RebuildWhen, file,
};
use super::retry::Policies;
use super::routes::{self, Defaults, Routes};
use super::streams::Streams;
use super::{path, report_duplicate};
use crate::name::CollectionName;
use crate::read_model::{Collection, Index};

const BATCH: usize = 500;

/// The most indexes of a collection, and fields of an index: each is written with every document.
const MAX_INDEXES: usize = 16;
const MAX_FIELDS: usize = 4;

/// The compiled projections. `complete` is false if some could not be read.
pub(super) struct Projections {
    pub(super) list: Vec<Projection>,
    pub(super) complete: bool,
}

pub(super) struct Projection {
    pub(super) config: ProjectionConfig,
    pub(super) pattern: Option<serde_json::Value>,
    name_place: Place,
    dead_letter_place: Place,
    collection_places: Vec<Place>,
}

// --- read_models -------------------------------------------------------------------------------------------------------

/// `None`: a mistake was reported.
pub(super) fn read_models(file: Optional<file::ReadModels>, report: &mut Report) -> Option<ReadModelsConfig> {
    let default = || ReadModelsConfig::Sqlite { dir: path(None, "./.tidemill/read-models") };
    let Some(At { value: file::ReadModels { sqlite, postgres }, place }) = file else { return Some(default()) };
    match (sqlite, postgres) {
        (Some(_), Some(_)) => {
            let message = "expected one of `sqlite` and `postgres`, found both";
            report.error_with_hint(&place, message, "remove one of them");
            None
        }
        (None, Some(postgres)) => compile_postgres(postgres.value, report).map(ReadModelsConfig::Postgres),
        (Some(sqlite), None) => {
            Some(ReadModelsConfig::Sqlite { dir: path(sqlite.value.dir, "./.tidemill/read-models") })
        }
        (None, None) => Some(default()),
    }
}

fn compile_postgres(file: file::Postgres, report: &mut Report) -> Option<PostgresConfig> {
    let schema = match file.schema {
        Some(At { value, place }) if !is_identifier(&value.0) => {
            report
                .error(&place, "expected a name of `a-z`, `0-9` and `_` that begins with a letter, at most 40 of them");
            return None;
        }
        Some(schema) => schema.value.0,
        None => "tidemill".to_owned(),
    };
    let url = file.url.0?;
    if !["postgresql://", "postgres://"].iter().any(|scheme| url.value.reveal().starts_with(scheme)) {
        report.error(&url.place, "expected an address like `postgresql://USER:PASSWORD@HOST:5432/DATABASE`");
        return None;
    }
    let lease = file.lease.map_or(Duration::from_secs(10), |lease| lease.value.0);
    Some(PostgresConfig { url: url.value, schema, lease })
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

// --- projections -------------------------------------------------------------------------------------------------------

pub(super) fn compile(
    file: Optional<List<file::Projection>>,
    streams: &Streams,
    policies: &Policies,
    defaults: &Defaults,
    routes: &Routes,
    report: &mut Report,
) -> Projections {
    let Some(At { value: List { items, complete }, .. }) = file else {
        return Projections { list: Vec::new(), complete: true };
    };
    let written = items.len();
    let one = |item: At<file::Projection>| projection(item.value, streams, policies, defaults, report);
    let list: Vec<Projection> = items.into_iter().filter_map(one).collect();
    check_names(&list, routes, report);
    check_plugins(&list, routes, report);
    check_collections(&list, report);
    check_dead_letters(&list, routes, streams, report);
    Projections { complete: complete && list.len() == written, list }
}

/// Every part is looked at before a missing one ends it.
fn projection(
    file: file::Projection,
    streams: &Streams,
    policies: &Policies,
    defaults: &Defaults,
    report: &mut Report,
) -> Option<Projection> {
    let filter = file.filter.map(|pattern| routes::filter(pattern.value, report));
    let retry = match file.retry {
        Some(retry) => policies.resolve(retry, report),
        None => Some(defaults.retry.clone()),
    };
    let sources = file.sources.0.and_then(|list| sources(list.value, streams, report));
    let collections = file.collections.0.and_then(|map| {
        let before = report.len();
        let collections: Vec<_> =
            map.value.0.into_iter().filter_map(|(name, written)| collection(name, written, report)).collect();
        if collections.is_empty() && report.len() == before {
            report.error(&map.place, "expected at least one collection");
        }
        (report.len() == before).then_some(collections)
    });
    let dead_letter =
        file.dead_letter.and_then(|dead_letter| dead_letter.value.subject).or(defaults.dead_letter.clone());
    let name = file.name.0?;
    let dead_letter_place = dead_letter.as_ref().map_or(name.place.clone(), |subject| subject.place.clone());
    let dead_letter = routes::dead_letter_subject(dead_letter, name.value.as_str(), &name.place, report);
    let (filter, pattern) = match filter {
        Some(compiled) => compiled.map(|(filter, pattern)| (Some(filter), Some(pattern)))?,
        None => (None, None),
    };
    let (collections, collection_places): (Vec<_>, Vec<_>) = collections?.into_iter().unzip();
    let config = ProjectionConfig {
        name: name.value,
        sources: sources?,
        filter,
        plugin: file.plugin.0?.value,
        collections: collections.into(),
        batch: file.batch.map_or(BATCH, |count| count.value.0 as usize),
        timeout: file.timeout.map_or(defaults.timeout, |timeout| timeout.value.0),
        retry: retry?,
        on_failure: file.on_failure.map_or(OnFailure::DeadLetter, |word| word.value.0),
        dead_letter: dead_letter?,
        rebuild: file.rebuild.map_or(RebuildWhen::Manual, |word| word.value.0),
        retain: file.retain.map_or(Duration::from_secs(24 * 3600), |span| span.value.0),
    };
    Some(Projection { config, pattern, name_place: name.place, dead_letter_place, collection_places })
}

fn sources(
    List { items, complete }: List<file::ProjectionSource, 1>,
    streams: &Streams,
    report: &mut Report,
) -> Option<Vec<ProjectionSource>> {
    let written = items.len();
    let mut list: Vec<ProjectionSource> = Vec::new();
    for At { value: file, place } in items {
        let subjects = file.subjects.map(|list| list.value.items);
        subjects.iter().for_each(|subjects| routes::check_disjoint(subjects, report));
        let Some(stream) = file.stream.0.and_then(|name| routes::find_stream(name, streams, report)) else { continue };
        routes::check_stored(subjects.iter().flatten(), stream, report);
        if list.iter().any(|other| other.stream == stream.config.name) {
            let message = format!("the stream `{}` is among the sources twice", stream.config.name);
            report.error_with_hint(&place, message, "list the subjects of both in one");
            continue;
        }
        let subjects = match subjects {
            Some(subjects) => subjects.into_iter().map(|subject| subject.value).collect(),
            None => stream.config.subjects.clone(),
        };
        let envelope = stream.config.envelope.clone();
        list.push(ProjectionSource { stream: stream.config.name.clone(), subjects, envelope });
    }
    (complete && list.len() == written).then_some(list)
}

fn collection(
    name: At<String>,
    file: Option<At<file::Collection>>,
    report: &mut Report,
) -> Option<(Collection, Place)> {
    let indexes = file?.value.indexes.map_or(Vec::new(), |list| list.value.items);
    if indexes.len() > MAX_INDEXES {
        report.error(&name.place, format!("expected at most {MAX_INDEXES} indexes, found {}", indexes.len()));
    }
    for At { value: file::Index(fields), place } in &indexes {
        if fields.len() > MAX_FIELDS {
            report.error(place, format!("expected at most {MAX_FIELDS} fields in an index, found {}", fields.len()));
        }
    }
    let indexes = indexes.into_iter().map(|index| Index { fields: index.value.0 }).collect();
    let known = CollectionName::try_new(&name.value).map_err(|error| report.error(&name.place, error.to_string()));
    Some((Collection::new(known.ok()?, indexes), name.place))
}

// --- between projections -----------------------------------------------------------------------------------------------

/// Dead letters, metrics and commands name a route or a projection, so the two must not be confused.
fn check_names(list: &[Projection], routes: &Routes, report: &mut Report) {
    for (index, one) in list.iter().enumerate() {
        let name = one.config.name.as_str();
        if let Some(first) = list[..index].iter().find(|other| other.config.name == one.config.name) {
            report_duplicate("projection", name, &one.name_place, &first.name_place, report);
        }
        if let Some(route) = routes.list.iter().find(|route| route.config.name.as_str() == name) {
            let message = format!("`{name}` is the name of a route too, in line {}", route.name_place.line);
            report.error(&one.name_place, message);
        }
    }
}

/// A component is a handler or a projection.
fn check_plugins(list: &[Projection], routes: &Routes, report: &mut Report) {
    for one in list {
        if let Some(route) = routes.list.iter().find(|route| route.config.handler == one.config.plugin) {
            let message =
                format!("the plugin `{}` is the handler of the route `{}`", one.config.plugin, route.config.name);
            report.error_with_hint(&one.name_place, message, "a component is either a handler or a projection");
        }
    }
}

/// A query names a collection only.
fn check_collections(list: &[Projection], report: &mut Report) {
    let mut seen: Vec<(&Collection, &Place)> = Vec::new();
    for one in list {
        for (collection, place) in one.config.collections.iter().zip(&one.collection_places) {
            if let Some((_, first)) = seen.iter().find(|(other, _)| other.name == collection.name) {
                report_duplicate("collection", collection.name.as_str(), place, first, report);
            }
            seen.push((collection, place));
        }
    }
}

fn check_dead_letters(list: &[Projection], routes: &Routes, streams: &Streams, report: &mut Report) {
    for (index, one) in list.iter().enumerate() {
        let subject = &one.config.dead_letter;
        let projection = list[..index].iter().find(|other| other.config.dead_letter == *subject);
        let route = routes.list.iter().find(|route| route.config.dead_letter == *subject);
        let other = projection.map(|it| it.config.name.as_str()).or(route.map(|it| it.config.name.as_str()));
        if let Some(other) = other.filter(|other| *other != one.config.name.as_str()) {
            let message =
                format!("the dead letters of `{other}` and `{}` would both go to `{subject}`", one.config.name);
            report.error_with_hint(&one.dead_letter_place, message, "let the subject hold the name: `dlq.{route}`");
        }
        routes::check_dead_letters_apart(subject, &one.dead_letter_place, streams, report);
    }
}
