//! A case of one plugin: it is called once for each event, on one instance, and what it writes is there for the next.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use tidemill_core::config::cases::{CameOut, CameOutcome, Case};
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::name::PluginName;
use tidemill_core::port::{Handler as _, Origin, Outgoing};
use tidemill_engine::{Answers, Plugin, Requests, Scene, Stage};

use super::answers::{CaseAnswers, asked};
use super::{TestFile, Workshop, incoming};
use crate::rehearse::{self, Came, GivenDocument, Ground, Outcome, Part, Take, emit_as_json, to_json};

pub(super) fn run(
    workshop: &Workshop,
    file: &TestFile,
    case: &Case,
    (plugin, part, attempt): (&PluginName, &str, u32),
) -> Result<CameOut> {
    let parts = Part::of(&workshop.config, plugin);
    let part = parts.into_iter().find(|known| known.name() == part).context("the route is gone")?;
    let settings = workshop.settings(plugin, case);
    let plugin = workshop.plugin(plugin, &settings)?;
    let usual = part.usual_subject(&workshop.config);
    let incoming = incoming(file, case, usual.as_ref())?;
    let guests = workshop.engine.runtime();
    let ground = guests.block_on(ground(&part, case, &plugin))?;
    let mut stage = Stage::new(plugin);
    let answers = Arc::new(CaseAnswers::new(&case.http));
    let mut out = beginning(case);
    for (number, Outgoing { message, .. }) in incoming.into_iter().enumerate() {
        let stream = part.stream_of(&workshop.config, &message.subject);
        let stream = stream.or_else(|| part.sources().first().map(|(stream, _)| (*stream).clone()));
        let origin = Origin { stream: stream.context("the route reads no stream")?, sequence: number as u64 + 1 };
        let schemas = Arc::clone(&workshop.schemas);
        let rehearsal = part.rehearsal(&settings, &origin.stream, &workshop.config, schemas);
        let seed = rehearse::seed(rehearsal.name(), &origin, attempt);
        let requests = Requests::Answered(Arc::clone(&answers) as Arc<dyn Answers>);
        let scene = Scene { now: case.now, seed, requests };
        let take = Take { message, origin, attempt, age: Duration::ZERO, scene, validate: true };
        let came = guests.block_on(rehearse::perform(&mut stage, &rehearsal, &ground, &take));
        add(&mut out, part.name(), came);
    }
    Ok(out)
}

async fn ground(part: &Part, case: &Case, plugin: &Plugin) -> Result<Ground> {
    let given = case.plugins.get(part.plugin()).map(|given| given.state.as_slice()).unwrap_or_default();
    let values = given.iter().map(|(key, value)| Ok((key.clone(), rehearse::of_json(value)?)));
    let values = values.collect::<Result<Vec<_>>>()?;
    let state = match plugin.uses_state() {
        true => Some(rehearse::state_space(part.plugin(), values).await?),
        false => None,
    };
    let documents = match part {
        Part::Route(_) => None,
        Part::Projection(it) => {
            Some(rehearse::view_of(&it.name, &it.collections, given_documents(case, &it.collections)?).await?)
        }
    };
    Ok(Ground { state, documents })
}

/// The documents of a case that belong to these collections.
pub(super) fn given_documents(
    case: &Case,
    collections: &tidemill_core::read_model::Collections,
) -> Result<Vec<GivenDocument>> {
    let own = |name: &str| collections.iter().any(|collection| collection.name.as_str() == name);
    let of_these = case.documents.iter().filter(|(collection, ..)| own(collection));
    of_these
        .map(|(collection, key, document)| {
            let body = serde_json::to_vec(document).context("writing JSON")?.into();
            Ok(GivenDocument { collection: collection.clone(), key: key.clone(), body })
        })
        .collect()
}

/// What has come out before the first call: what is given is there.
fn beginning(case: &Case) -> CameOut {
    let state: Map<String, Value> = case.plugins.values().flat_map(|given| given.state.iter().cloned()).collect();
    let mut documents = Value::Object(Map::new());
    for (collection, key, document) in &case.documents {
        set(&mut documents, &[collection, key], Some(document.clone()));
    }
    CameOut { outcomes: Some(Vec::new()), state: state.into(), documents, ..CameOut::default() }
}

/// And after a call.
fn add(out: &mut CameOut, route: &str, came: Came) {
    out.outcomes.get_or_insert_default().push(outcome(&came.outcome));
    for (to, event) in &came.emits {
        let mut emit = emit_as_json(to, event);
        emit["route"] = route.into();
        out.emits.push(emit);
    }
    for change in &came.state {
        let after = change.after.as_deref().map(to_json);
        let changed = out.changed_state.get_or_insert_with(|| Value::Object(Map::new()));
        set(changed, &[&change.key], after.clone());
        set(&mut out.state, &[&change.key], after);
    }
    for change in &came.documents {
        let after = change.after.as_deref().map(to_json);
        let place = [change.collection.as_str(), change.key.as_str()];
        let changed = out.changed_documents.get_or_insert_with(|| Value::Object(Map::new()));
        set(changed, &place, after.clone());
        set(&mut out.documents, &place, after);
    }
    if let Some(call) = &came.call {
        out.requests.extend(call.requests.iter().map(asked));
        out.log.extend(call.log.iter().map(|line| line.text.clone()));
    }
}

/// Sets a member of nested objects, or removes it.
pub(super) fn set(object: &mut Value, place: &[&str], value: Option<Value>) {
    let Some(members) = object.as_object_mut() else { return };
    match (place, value) {
        ([name], Some(value)) => drop(members.insert((*name).to_owned(), value)),
        ([name], None) => drop(members.remove(*name)),
        ([name, rest @ ..], value) => {
            let inner = members.entry(*name).or_insert_with(|| Value::Object(Map::new()));
            set(inner, rest, value);
        }
        ([], _) => {}
    }
}

fn outcome(outcome: &Outcome) -> CameOutcome {
    let after_ms = match outcome.failure() {
        Some(Failure { kind: FailureKind::RetryRequested { after: Some(after) }, .. }) => {
            Some(after.as_millis() as u64)
        }
        _ => None,
    };
    let error = match outcome {
        Outcome::Skipped(why) => Some(why.clone()),
        other => other.failure().map(|failure| failure.text.clone()),
    };
    CameOutcome { word: outcome.word().to_owned(), error, after_ms }
}
