//! The answers of a case to HTTP requests.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tidemill_core::config::cases::GivenAnswer;
use tidemill_engine::{Answer, Answers, Request};

use crate::rehearse::as_text_or_json;

/// Each answer, and how often it was given.
pub(super) struct CaseAnswers(Vec<(GivenAnswer, AtomicU64)>);

impl CaseAnswers {
    pub(super) fn new(answers: &[GivenAnswer]) -> Self {
        Self(answers.iter().map(|answer| (answer.clone(), AtomicU64::new(0))).collect())
    }
}

impl Answers for CaseAnswers {
    fn answer(&self, request: &Request) -> Option<Answer> {
        let line = request.line();
        let is_left = |answer: &GivenAnswer, given: &AtomicU64| {
            answer.times.is_none_or(|times| given.load(Ordering::Relaxed) < times)
        };
        let (answer, given) = self.0.iter().find(|(answer, given)| answer.fits(&line) && is_left(answer, given))?;
        given.fetch_add(1, Ordering::Relaxed);
        let (status, headers, body) = (answer.status, answer.headers.clone(), answer.body.clone().into());
        Some(Answer { status, headers, body })
    }
}

/// A request as an expectation names it.
pub(super) fn asked(request: &Request) -> Value {
    let body = if request.body.is_empty() { Value::Null } else { as_text_or_json(&request.body) };
    json!({ "request": request.line(), "body": body })
}
