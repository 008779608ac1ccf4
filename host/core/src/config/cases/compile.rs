//! What the cases of a file mean, checked against the configuration that they are about.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::diagnostic::{Place, Report};
use super::super::leaf::Text;
use super::super::read::{At, List, Map, Optional};
use super::super::{RuntimeConfig, words};
use super::expected::{Expected, Given, Literal, Outcome, Outcomes, Words};
use super::{
    Case, Expect, ExpectedDeadLetter, ExpectedEmit, ExpectedOutcome, ExpectedRequest, GivenAnswer, GivenEvent,
    GivenPlugin, Tested, file,
};
use crate::envelope;
use crate::name::PluginName;
use crate::subject::Subject;

/// The hour of a case that names none: 2026-01-01T00:00:00Z.
const USUAL_HOUR: i64 = 1_767_225_600;

struct Compiler<'a> {
    config: &'a RuntimeConfig,
    report: &'a mut Report,
}

/// May be used only if nothing was reported.
pub(super) fn compile(file: file::Cases, config: &RuntimeConfig, report: &mut Report) -> Vec<Case> {
    let mut compiler = Compiler { config, report };
    let usual = SystemTime::from(OffsetDateTime::from_unix_timestamp(USUAL_HOUR).unwrap_or(OffsetDateTime::UNIX_EPOCH));
    let now = compiler.time(file.now).unwrap_or(usual);
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut cases = Vec::new();
    for At { value, place } in file.tests.0.map_or(Vec::new(), |list| list.value.items) {
        if let Some(At { value: Text(name), place }) = &value.name.0 {
            let first = *names.entry(name.clone()).or_insert(place.line);
            if first != place.line {
                compiler.report.error(place, format!("a case in line {first} has the same name"));
            }
        }
        cases.extend(compiler.case(value, &place, now));
    }
    cases
}

// === impl Compiler ===

impl Compiler<'_> {
    fn case(&mut self, file: file::Case, place: &Place, now: SystemTime) -> Option<Case> {
        let of_plugin = file.plugin.is_some();
        self.check_fit(&file, of_plugin);
        let now = self.time(file.now).unwrap_or(now);
        let plugin = file.plugin.map(|at| (self.is_used(&at.value, &at.place), at));
        let given =
            GivenPlugin { config: values(file.config), secrets: texts(file.secrets), state: literals(file.state) };
        let mut plugins = self.plugins(file.plugins);
        let documents = self.documents(file.documents);
        let http = self.answers(file.http);
        let (subject, part) = match plugin {
            None => (Tested::Runtime { only: self.only(file.only) }, None),
            Some((false, _)) => return None,
            Some((true, At { value: plugin, place })) => {
                plugins.insert(plugin.clone(), given);
                let part = self.part(&plugin, &place, file.route)?;
                let attempt = file.attempt.map_or(1, |count| count.value.0 as u32);
                (Tested::Plugin { plugin, part: part.clone(), attempt }, Some(part))
            }
        };
        let events = file.events.0.map_or(Vec::new(), |list| list.value.items);
        let count = events.len();
        let by_file = events.iter().any(|event| event.value.file.is_some());
        let events: Vec<_> = events
            .into_iter()
            .enumerate()
            .filter_map(|(number, event)| self.event(event.value, &event.place, number + 1, part.is_none()))
            .collect();
        let expect = file.expect.map(|expect| {
            self.check_lengths(&expect.value, (!by_file).then_some(count), &expect.place);
            self.expect(expect.value, &expect.place, part.is_some())
        });
        let name = file.name.0?.value.0;
        Some(Case { name, line: place.line, subject, now, events, plugins, http, documents, expect })
    }

    /// Fields that belong to the other kind of case.
    fn check_fit(&mut self, file: &file::Case, of_plugin: bool) {
        let places = |with: bool| -> Vec<(&str, Option<&Place>)> {
            let expect = file.expect.as_ref().map(|expect| &expect.value);
            match with {
                true => vec![
                    ("route", file.route.as_ref().map(|at| &at.place)),
                    ("attempt", file.attempt.as_ref().map(|at| &at.place)),
                    ("config", file.config.as_ref().map(|at| &at.place)),
                    ("secrets", file.secrets.as_ref().map(|at| &at.place)),
                    ("state", file.state.as_ref().map(|at| &at.place)),
                    ("outcome", expect.and_then(|it| it.outcome.as_ref()).map(|at| &at.place)),
                    ("log", expect.and_then(|it| it.log.as_ref()).map(|at| &at.place)),
                ],
                false => vec![
                    ("only", file.only.as_ref().map(|at| &at.place)),
                    ("plugins", file.plugins.as_ref().map(|at| &at.place)),
                    ("dead_letters", expect.and_then(|it| it.dead_letters.as_ref()).map(|at| &at.place)),
                    ("routes", expect.and_then(|it| it.routes.as_ref()).map(|at| &at.place)),
                ],
            }
        };
        for (name, place) in places(!of_plugin) {
            let Some(place) = place else { continue };
            let (message, hint) = if of_plugin {
                (
                    format!("`{name}` belongs to a case of the whole, and this one has a `plugin`"),
                    "without `plugin` the events go into the streams, and all routes and projections run",
                )
            } else {
                (format!("`{name}` belongs to a case with a `plugin`"), instead_of(name))
            };
            self.report.error_with_hint(place, message, hint);
        }
    }

    fn check_lengths(&mut self, expect: &file::Expect, events: Option<usize>, place: &Place) {
        let Some(At { value: Outcomes::Each(each), place: at }) = &expect.outcome else { return };
        if let Some(events) = events.filter(|events| *events != each.len()) {
            let at = if at.path.is_empty() { place } else { at };
            let message = format!("expected an outcome for each of the {events} events, found {}", each.len());
            self.report.error(at, message);
        }
    }

    // --- what is given ---

    fn is_used(&mut self, plugin: &PluginName, place: &Place) -> bool {
        let used = self.config.used_plugins();
        if used.contains_key(plugin) {
            return true;
        }
        let message = format!("no route or projection of runtime.yaml uses the plugin `{plugin}`");
        let hint = match self.config.routes.iter().find(|route| route.name.as_str() == plugin.as_str()) {
            Some(route) => format!("`{plugin}` is a route; its plugin is `{}`", route.handler),
            None => did_you_mean(plugin.as_str(), used.keys().map(|name| name.as_str())),
        };
        self.report.error_with_hint(place, message, hint);
        false
    }

    /// The route or projection that calls the plugin.
    fn part(&mut self, plugin: &PluginName, place: &Place, named: Optional<Text>) -> Option<String> {
        let routes = self.config.routes.iter().filter(|route| route.handler == *plugin);
        let projections = self.config.projections.iter().filter(|projection| projection.plugin == *plugin);
        let names: Vec<&str> =
            routes.map(|it| it.name.as_str()).chain(projections.map(|it| it.name.as_str())).collect();
        match named {
            Some(At { value: Text(name), .. }) if names.contains(&name.as_str()) => Some(name),
            Some(At { value: Text(name), place }) => {
                let message = format!("`{name}` does not use the plugin `{plugin}`");
                self.report.error_with_hint(&place, message, did_you_mean(&name, names.iter().copied()));
                None
            }
            None if names.len() == 1 => names.first().map(|name| (*name).to_owned()),
            None => {
                let message = format!("the plugin `{plugin}` is used by {}", words::enumerate(&names));
                self.report.error_with_hint(place, message, "`route: NAME` says which of them is tested");
                None
            }
        }
    }

    fn only(&mut self, only: Optional<List<Text, 1>>) -> Option<Vec<String>> {
        let routes = self.config.routes.iter().map(|route| route.name.as_str());
        let names: Vec<&str> =
            routes.chain(self.config.projections.iter().map(|projection| projection.name.as_str())).collect();
        let only = only?.value.items;
        for At { value: Text(name), place } in &only {
            if !names.contains(&name.as_str()) {
                let message = format!("there is no route or projection `{name}`");
                self.report.error_with_hint(place, message, did_you_mean(name, names.iter().copied()));
            }
        }
        Some(only.into_iter().map(|name| name.value.0).collect())
    }

    fn plugins(&mut self, plugins: Optional<Map<file::Plugin>>) -> BTreeMap<PluginName, GivenPlugin> {
        let mut given = BTreeMap::new();
        for (name, plugin) in plugins.map_or(Vec::new(), |map| map.value.0) {
            let Some(plugin) = plugin else { continue };
            match PluginName::try_new(&name.value) {
                Err(error) => self.report.error(&name.place, error.to_string()),
                Ok(known) if self.is_used(&known, &name.place) => {
                    let file::Plugin { config, secrets, state } = plugin.value;
                    let plugin =
                        GivenPlugin { config: values(config), secrets: texts(secrets), state: literals(state) };
                    given.insert(known, plugin);
                }
                Ok(_) => {}
            }
        }
        given
    }

    fn documents(&mut self, documents: Optional<Map<Map<Literal>>>) -> Vec<(String, String, Value)> {
        let mut given = Vec::new();
        for (collection, documents) in documents.map_or(Vec::new(), |map| map.value.0) {
            self.check_collection(&collection.value, &collection.place);
            for (key, document) in documents.map_or(Vec::new(), |map| map.value.0) {
                let Some(At { value: Literal(document), place }) = document else { continue };
                if !document.is_object() {
                    self.report.error(&place, "expected a document: a mapping");
                }
                given.push((collection.value.clone(), key.value, document));
            }
        }
        given
    }

    fn answers(&mut self, answers: Optional<List<file::Answer>>) -> Vec<GivenAnswer> {
        let answers = answers.map_or(Vec::new(), |list| list.value.items).into_iter();
        answers.filter_map(|answer| self.answer(answer.value)).collect()
    }

    fn answer(&mut self, file: file::Answer) -> Option<GivenAnswer> {
        let At { value: Text(request), place } = file.request.0?;
        let address = request.split_once(' ').map(|(_, address)| address);
        if !address.is_some_and(|address| address.starts_with("https://") || address.starts_with("http://")) {
            let message = format!("expected a method and an address, found `{request}`");
            self.report.error_with_hint(&place, message, "`GET https://api.example.com/*`");
        }
        let body = match file.body.map(|body| body.value.0) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(json) => json.to_string(),
        };
        let status = file.status.map_or(200, |status| status.value.0 as u16);
        let times = file.times.map(|times| times.value.0);
        Some(GivenAnswer { request, status, headers: texts(file.headers).into_iter().collect(), body, times })
    }

    fn check_collection(&mut self, name: &str, place: &Place) {
        let collections = self.config.projections.iter().flat_map(|projection| projection.collections.iter());
        let names: Vec<&str> = collections.map(|collection| collection.name.as_str()).collect();
        if !names.contains(&name) {
            let message = format!("no projection of runtime.yaml has a collection `{name}`");
            self.report.error_with_hint(place, message, did_you_mean(name, names));
        }
    }

    // --- events ---

    fn event(&mut self, file: file::Event, place: &Place, number: usize, needs_subject: bool) -> Option<GivenEvent> {
        let file::Event { subject, event, payload, headers, file, line } = file;
        let subject = subject.map(|subject| self.subject(subject));
        if let Some(headers) = headers.as_ref().filter(|_| payload.is_none()) {
            let hint = "attributes of an event stand in `event`";
            self.report.error_with_hint(&headers.place, "`headers` belong to a `payload`", hint);
        }
        if let Some(line) = line.as_ref().filter(|_| file.is_none()) {
            self.report.error(&line.place, "`line` belongs to a `file`");
        }
        if subject.is_none() && needs_subject && file.is_none() {
            let message = "missing field `subject`: nobody knows which stream stores the event";
            self.report.error(place, message);
        }
        let subject = match subject {
            Some(None) => return None,
            Some(Some(subject)) => Some(subject),
            None => None,
        };
        match (event, payload, file) {
            (Some(At { value: Literal(event), place }), None, None) => {
                let event = self.cloud_event(event, &place, number)?;
                Some(GivenEvent::Event { subject, event })
            }
            (None, Some(At { value: Text(payload), .. }), None) => {
                let headers = texts(headers).into_iter().collect();
                let subject = subject.or_else(|| Subject::try_new("any").ok())?;
                Some(GivenEvent::Raw { subject, payload, headers })
            }
            (None, None, Some(At { value: Text(path), .. })) => {
                let line = line.map(|line| line.value.0 as usize);
                Some(GivenEvent::File { subject, path: path.into(), line })
            }
            _ if self.report.touches(place) => None,
            _ => {
                let message = "expected one of `event`, `payload` and `file`";
                let hint = "`- { subject: orders.created, event: { type: OrderCreated, data: { total: 5 } } }`";
                self.report.error_with_hint(place, message, hint);
                None
            }
        }
    }

    /// The subject, if some stream stores it.
    fn subject(&mut self, At { value: Text(text), place }: At<Text>) -> Option<Subject> {
        let subject = match Subject::try_new(&text) {
            Ok(subject) => subject,
            Err(error) => {
                self.report.error(&place, error.to_string());
                return None;
            }
        };
        let mut patterns = self.config.streams.iter().flat_map(|stream| &stream.subjects);
        if !patterns.any(|pattern| pattern.matches(subject.as_str())) {
            let streams: Vec<&str> = self.config.streams.iter().map(|stream| stream.name.as_str()).collect();
            let hint = format!("the streams are {}", words::enumerate(&streams));
            self.report.error_with_hint(&place, format!("no stream of runtime.yaml stores `{subject}`"), hint);
        }
        Some(subject)
    }

    fn cloud_event(&mut self, mut event: Value, place: &Place, number: usize) -> Option<crate::event::Event> {
        let Some(members) = event.as_object_mut() else {
            self.report.error(place, "expected a CloudEvent: a mapping");
            return None;
        };
        let usual =
            [("specversion", json!("1.0")), ("id", json!(format!("event-{number}"))), ("source", json!("/test"))];
        for (name, value) in usual {
            members.entry(name).or_insert(value);
        }
        envelope::event_from_json(&event).map_err(|error| self.report.error(place, error.to_string())).ok()
    }

    // --- what is expected ---

    fn expect(&mut self, file: file::Expect, place: &Place, of_plugin: bool) -> Expect {
        let named = [
            file.outcome.is_some(),
            file.emits.is_some(),
            file.requests.is_some(),
            file.state.is_some(),
            file.documents.is_some(),
            file.log.is_some(),
            file.dead_letters.is_some(),
            file.routes.is_some(),
        ];
        if !named.contains(&true) && !self.report.touches(place) {
            let hint = "name at least one of `outcome`, `emits`, `state`, `documents` and `dead_letters`";
            self.report.error_with_hint(place, "a case that expects nothing cannot fail", hint);
        }
        for (name, expected) in [("state", &file.state), ("documents", &file.documents), ("routes", &file.routes)] {
            self.check_objects(name, expected);
        }
        if let Some(At { value: Expected::Members(members), place }) = &file.documents {
            members.iter().for_each(|(name, _)| self.check_collection(name, place));
        }
        if let (Some(At { value: Expected::Members(members), place }), false) = (&file.state, of_plugin) {
            for (name, _) in members {
                if let Ok(plugin) = PluginName::try_new(name) {
                    self.is_used(&plugin, place);
                }
            }
        }
        Expect {
            outcomes: file.outcome.map(|at| self.outcomes(at)),
            emits: file.emits.map(|list| list.value.items.into_iter().map(|emit| self.emit(emit)).collect()),
            requests: file.requests.map(|list| list.value.items.into_iter().map(|it| self.request(it)).collect()),
            state: file.state.map(|at| at.value),
            documents: file.documents.map(|at| at.value),
            log: file.log.map(|list| list.value.items.into_iter().map(|phrase| phrase.value).collect()),
            dead_letters: file
                .dead_letters
                .map(|list| list.value.items.into_iter().map(|it| self.letter(it)).collect()),
            routes: file.routes.map(|at| at.value),
        }
    }

    /// What admits everything is no expectation.
    fn check_objects(&mut self, name: &str, expected: &Optional<Expected>) {
        let Some(At { value, place }) = expected else { return };
        match value {
            Expected::Members(members) if members.is_empty() => {
                let hint = format!("`{name}: {{ $exactly: {{}} }}` says that there is none");
                self.report.error_with_hint(place, "`{}` admits everything, so it cannot fail", hint);
            }
            Expected::Members(_) | Expected::Exactly(Value::Object(_)) => {}
            _ => self.report.error(place, "expected a mapping"),
        }
    }

    fn outcomes(&mut self, At { value, .. }: At<Outcomes>) -> Vec<ExpectedOutcome> {
        let expected = |Outcome { word, error, after }| ExpectedOutcome { word: word.to_owned(), error, after };
        match value {
            Outcomes::All(outcome) => vec![expected(outcome)],
            Outcomes::Each(each) => each.into_iter().map(expected).collect(),
        }
    }

    fn emit(&mut self, At { value, place }: At<file::Emit>) -> ExpectedEmit {
        let file::Emit {
            route,
            to,
            r#type,
            subject,
            data,
            data_base64,
            extensions,
            id,
            time,
            datacontenttype,
            dataschema,
        } = value;
        let fields = [
            ("route", route),
            ("to", to),
            ("type", r#type),
            ("subject", subject),
            ("id", id),
            ("time", time),
            ("datacontenttype", datacontenttype),
            ("dataschema", dataschema),
            ("extensions", extensions),
            ("data", data),
            ("data_base64", data_base64),
        ];
        let fields: Vec<_> = named(fields);
        if fields.is_empty() && !self.report.touches(&place) {
            self.report.error(&place, "an emit of which nothing is expected; name `to`, `type` or `data`");
        }
        ExpectedEmit(fields)
    }

    fn request(&mut self, At { value, place }: At<file::Request>) -> ExpectedRequest {
        let fields = named([("request", value.request), ("body", value.body)]);
        if fields.is_empty() && !self.report.touches(&place) {
            self.report.error(&place, "a request of which nothing is expected; name `request` or `body`");
        }
        ExpectedRequest(fields)
    }

    fn letter(&mut self, At { value, place }: At<file::DeadLetter>) -> ExpectedDeadLetter {
        let file::DeadLetter { route, reason, error, attempts, exhausted_by, event, stream } = value;
        let mut fields = named([
            ("route", route),
            ("attempts", attempts),
            ("exhausted_by", exhausted_by),
            ("event", event),
            ("stream", stream),
        ]);
        if let Some(At { value: Words(code), .. }) = reason {
            fields.insert(usize::from(!fields.is_empty()), ("reason", Expected::Value(code.into())));
        }
        let error = error.map(|at| at.value);
        if fields.is_empty() && error.is_none() && !self.report.touches(&place) {
            self.report.error(&place, "a dead letter of which nothing is expected; name `route` or `reason`");
        }
        ExpectedDeadLetter { fields, error }
    }

    fn time(&mut self, written: Optional<Text>) -> Option<SystemTime> {
        let At { value: Text(text), place } = written?;
        match OffsetDateTime::parse(&text, &Rfc3339) {
            Ok(time) => Some(time.into()),
            Err(_) => {
                let message = format!("expected a time like `2026-01-31T12:00:00Z`, found `{text}`");
                self.report.error(&place, message);
                None
            }
        }
    }
}

/// What to write instead of a field that belongs to a case of one plugin.
fn instead_of(name: &str) -> &'static str {
    match name {
        "config" | "secrets" | "state" => "for one of several plugins: `plugins: { NAME: { … } }`",
        "outcome" => "what became of the events is said by `emits`, `dead_letters` and `routes`",
        "route" => "`only: [NAME]` runs a part of the routes and projections",
        _ => "`plugin: NAME` makes this a case of one plugin",
    }
}

fn did_you_mean<'w>(unknown: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match words::closest(unknown, known.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("there are {}", words::enumerate(&known)),
    }
}

fn named<const N: usize>(fields: [(&'static str, Optional<Given>); N]) -> Vec<(&'static str, Expected)> {
    fields.into_iter().filter_map(|(name, given)| Some((name, given?.value.0))).collect()
}

fn literals(map: Optional<Map<Literal>>) -> Vec<(String, Value)> {
    let entries = map.map_or(Vec::new(), |map| map.value.0);
    entries.into_iter().filter_map(|(key, value)| Some((key.value, value?.value.0))).collect()
}

/// As `config` of runtime.yaml: a text is itself, anything else its JSON text.
fn values(map: Optional<Map<Literal>>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    literals(map).into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn texts(map: Optional<Map<Text>>) -> BTreeMap<String, String> {
    let entries = map.map_or(Vec::new(), |map| map.value.0);
    entries.into_iter().filter_map(|(key, value)| Some((key.value, value?.value.0))).collect()
}
