//! `retry_policies`, and policies in place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnostic::Report;
use super::super::leaf::Growth;
use super::super::read::{At, Map, Optional};
use super::super::{file, words};
use crate::retry::{Backoff, RetryPolicy};

/// The policy of a route that names none.
const STANDARD: &str = "standard";

/// Policies by name.
pub(super) struct Policies(BTreeMap<String, RetryPolicy>);

impl Policies {
    pub(super) fn compile(file: Optional<Map<file::RetryPolicy>>, report: &mut Report) -> Self {
        let mut policies = BTreeMap::from([(STANDARD.to_owned(), RetryPolicy::default())]);
        for (name, written) in file.map_or(Vec::new(), |map| map.value.0) {
            // A broken policy is known by its name all the same, so that those who refer to it are not called wrong.
            let policy = written.and_then(|written| policy(written, report)).unwrap_or_default();
            policies.insert(name.value, policy);
        }
        Self(policies)
    }

    pub(super) fn standard(&self) -> RetryPolicy {
        self.0.get(STANDARD).cloned().unwrap_or_default()
    }

    /// The policy that a route or the defaults ask for. `None`: a mistake was reported.
    pub(super) fn resolve(&self, written: At<file::Retry>, report: &mut Report) -> Option<RetryPolicy> {
        let At { value, place } = written;
        match value {
            file::Retry::InPlace(written) => policy(At { value: *written, place }, report),
            file::Retry::Named(name) => self.0.get(&name).cloned().or_else(|| {
                let known: Vec<&String> = self.0.keys().collect();
                let hint = match words::closest(&name, self.0.keys().map(String::as_str)) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("`retry_policies` has {}", words::enumerate(&known)),
                };
                report.error_with_hint(&place, format!("there is no retry policy `{name}`"), hint);
                None
            }),
        }
    }
}

fn policy(At { value: file, place }: At<file::RetryPolicy>, report: &mut Report) -> Option<RetryPolicy> {
    let standard = RetryPolicy::default();
    let backoff = match file.backoff {
        Some(written) => backoff(written, report)?,
        None => standard.backoff().clone(),
    };
    let max_attempts = file.max_attempts.map_or(standard.max_attempts(), |count| count.value.0 as u32);
    let max_age = file.max_age.map_or(standard.max_age(), |age| age.value.0);
    RetryPolicy::try_new(max_attempts, max_age, backoff).map_err(|error| report.error(&place, error.to_string())).ok()
}

fn backoff(At { value: file, place }: At<file::Backoff>, report: &mut Report) -> Option<Backoff> {
    let Growth::Exponential = file.r#type.map_or(Growth::Exponential, |growth| growth.value.0);
    let initial = file.initial.map_or(Duration::from_secs(1), |initial| initial.value.0);
    let place = file.max.as_ref().map_or(place, |max| max.place.clone());
    let max = file.max.map_or(initial.max(Duration::from_secs(60)), |max| max.value.0);
    let multiplier = file.multiplier.map_or(2.0, |multiplier| multiplier.value.0);
    let jitter = file.jitter.map_or(0.2, |jitter| jitter.value.0);
    Backoff::try_new(initial, multiplier, max, jitter).map_err(|error| report.error(&place, error.to_string())).ok()
}
