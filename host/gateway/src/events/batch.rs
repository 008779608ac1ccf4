//! Several events in one request.
//!
//! Each stands for itself: the good ones are published although others are bad, unless the sender wants all or nothing. The
//! answer is 202 when all were taken; else it is a problem, so that nobody takes it for a success, with a line for each event.
//! Sending the whole batch again is right in every case: what was stored is not stored again.

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::checked::Checked;
use super::{Receipt, binding, publish};
use crate::problem::{Problem, ProblemKind};
use crate::reply::{self, Answered};
use crate::runtime::Catalogue;
use crate::service::Service;

/// Takes a batch.
pub(super) async fn take(service: &Service, catalogue: &Catalogue, body: &Bytes, atomic: bool) -> Answered {
    let mut checked: Vec<Result<Checked<'_>, Problem>> = Vec::new();
    for text in split(body, service.config.limits.events)? {
        checked.push(binding::structured(text).and_then(|event| Checked::of(event, catalogue)));
    }
    if atomic && checked.iter().any(Result::is_err) {
        let lines: Vec<Value> = checked.iter().enumerate().map(|(index, it)| held_back(index, it)).collect();
        let bad = checked.iter().filter(|it| it.is_err()).count();
        let detail = format!("{bad} of {} events are refused, so nothing is published (`atomic=true`)", checked.len());
        return Err(Problem::new(ProblemKind::BatchRefused, detail).with("items", lines.into()));
    }
    let good = checked.iter().flatten().map(|it| it.outgoing.clone()).collect::<Vec<_>>();
    let mut published = if good.is_empty() { Vec::new() } else { publish(service, good).await }.into_iter();
    let (mut lines, mut accepted, mut away) = (Vec::with_capacity(checked.len()), 0_usize, false);
    for (index, checked) in checked.into_iter().enumerate() {
        let result = checked.and_then(|event| {
            let published = published.next().unwrap_or_else(|| Err(super::silent()))?;
            Ok(Receipt::new(event.id, &published))
        });
        accepted += usize::from(result.is_ok());
        away |= result.as_ref().is_err_and(|problem| problem.kind() == ProblemKind::BrokerUnavailable);
        lines.push(line(index, result));
    }
    answer(lines, accepted, away)
}

fn answer(lines: Vec<Value>, accepted: usize, away: bool) -> Answered {
    let all = lines.len();
    if accepted == all {
        return reply::json(StatusCode::ACCEPTED, &json!({ "accepted": accepted, "items": lines }));
    }
    let detail = format!("{accepted} of {all} events are published; `items` says what is wrong with the others");
    let problem = if away {
        Problem::new(ProblemKind::BrokerUnavailable, detail).retry_after(super::RETRY_SECONDS)
    } else {
        Problem::new(ProblemKind::BatchRefused, detail)
    };
    Err(problem.with("accepted", accepted.into()).with("items", lines.into()))
}

/// The events' texts, as parts of the body: numbers keep the form in which they were written.
fn split(body: &Bytes, allowed: usize) -> Result<Vec<Bytes>, Problem> {
    let malformed = |detail: String| Problem::new(ProblemKind::MalformedEvent, detail);
    let texts: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| malformed(format!("the body is no batch: expected a JSON array of events, found {error}")))?;
    if texts.len() > allowed {
        let found = texts.len();
        let detail = format!(
            "at most {allowed} events are taken at once, found {found}; `http.limits.events` in runtime.yaml raises it"
        );
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    Ok(texts.into_iter().map(|text| body.slice_ref(text.get().as_bytes())).collect())
}

fn line(index: usize, result: Result<Receipt, Problem>) -> Value {
    match result {
        Ok(Receipt { id, stream, sequence, duplicate }) => json!({
            "index": index, "status": 202, "id": id, "stream": stream, "sequence": sequence, "duplicate": duplicate,
        }),
        Err(problem) => json!({ "index": index, "status": problem.status().as_u16(), "error": problem.to_json() }),
    }
}

/// A line of a batch of which nothing was published.
fn held_back(index: usize, checked: &Result<Checked<'_>, Problem>) -> Value {
    match checked {
        // What would have been taken, had the others been good: "failed dependency".
        Ok(event) => json!({ "index": index, "status": 424, "id": event.id }),
        Err(problem) => json!({ "index": index, "status": problem.status().as_u16(), "error": problem.to_json() }),
    }
}
