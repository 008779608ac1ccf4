//! The least that must be granted, as a piece of `runtime.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tidemill_core::config::PluginConfig;
use tidemill_core::grant::Grant;
use tidemill_core::name::PluginName;
use tidemill_core::subject::SubjectPattern;

use super::compare::imports;
use super::run::Ran;

/// Above so many subjects that differ only at their end, a pattern says it better.
const MAX_ALIKE: usize = 3;

pub(super) fn snippet(plugin: &PluginName, ran: &Ran, settings: &PluginConfig) -> String {
    let grants = plugin_lines(ran, settings);
    let mut text = String::new();
    if !grants.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "plugins:\n  settings:\n    {plugin}:\n");
        grants.iter().for_each(|line| text += &format!("      {line}\n"));
    }
    let routes: Vec<String> =
        ran.tried.emits.iter().filter_map(|(route, to)| route_lines(route.as_str(), to)).collect();
    if !routes.is_empty() {
        text += "routes:\n";
        text += &routes.concat();
    }
    if text.is_empty() {
        "# Nothing: these events made it try nothing that is granted by name.\n".to_owned()
    } else {
        text
    }
}

fn plugin_lines(ran: &Ran, settings: &PluginConfig) -> Vec<String> {
    let mut lines = Vec::new();
    if imports(ran, "tidemill:plugin/state") {
        lines.push("state: true".to_owned());
    }
    if !ran.tried.requests.is_empty() {
        let hosts: BTreeSet<String> = ran.tried.requests.iter().map(ToString::to_string).collect();
        lines.push(format!("allowed_outbound_hosts: {}", list(&hosts)));
    } else if imports(ran, "wasi:http/outgoing-handler") {
        lines.push(
            "# It imports `wasi:http`, and these events made it send nothing: name the hosts that it may ask."
                .to_owned(),
        );
        lines.push("# allowed_outbound_hosts: [\"https://HOST\"]".to_owned());
    }
    lines.extend(value_lines("config", settings.config.keys(), ran, |key| quoted(&settings.config[key])));
    lines.extend(value_lines("secrets", settings.secrets.keys(), ran, |key| quoted(&format!("${{secret:{key}}}"))));
    let known = |key: &&String| settings.config.contains_key(*key) || settings.secrets.contains_key(*key);
    let missing = ran.tried.config.iter().filter(|key| !known(key));
    lines.extend(missing.map(|key| format!("# It asked for the setting {}, which is not there.", quoted(key))));
    lines
}

/// The values that were asked for, as one entry.
fn value_lines<'a>(
    name: &str,
    keys: impl Iterator<Item = &'a String>,
    ran: &Ran,
    value: impl Fn(&'a str) -> String,
) -> Vec<String> {
    let asked = keys.filter(|key| ran.tried.config.contains(*key));
    let mut lines: Vec<String> = asked.map(|key| format!("  {}: {}", quoted(key), value(key))).collect();
    if !lines.is_empty() {
        lines.insert(0, format!("{name}:"));
    }
    lines
}

fn route_lines(route: &str, subjects: &BTreeSet<String>) -> Option<String> {
    let everything = Grant { emits: SubjectPattern::try_new(">").into_iter().collect() };
    let possible: BTreeSet<String> = subjects.iter().filter(|to| everything.check_emit(to).is_ok()).cloned().collect();
    (!possible.is_empty()).then(|| format!("  - name: {route}\n    emits: {}\n", list(&patterns(possible))))
}

/// The subjects as they were used, or a pattern in the place of many: `a.*` for those that differ in their last word, `a.>`
/// for those that only begin alike.
fn patterns(subjects: BTreeSet<String>) -> BTreeSet<String> {
    let parent = |subject: &str| subject.rsplit_once('.').map(|(parent, _)| format!("{parent}.*"));
    let first = |subject: &str| subject.split_once('.').map(|(first, _)| format!("{first}.>"));
    gather(gather(subjects, parent), first)
}

fn gather(subjects: BTreeSet<String>, pattern: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let mut alike: BTreeMap<String, usize> = BTreeMap::new();
    for subject in &subjects {
        if let Some(pattern) = pattern(subject) {
            *alike.entry(pattern).or_default() += 1;
        }
    }
    let short = |subject: String| match pattern(&subject) {
        Some(pattern) if alike[&pattern] > MAX_ALIKE => pattern,
        _ => subject,
    };
    subjects.into_iter().map(short).collect()
}

fn list(names: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", quoted.join(", "))
}

/// JSON text is YAML text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(subjects: &[&str]) -> Vec<String> {
        patterns(subjects.iter().map(|subject| (*subject).to_owned()).collect()).into_iter().collect()
    }

    #[test]
    fn few_subjects_stay_as_they_are_and_many_become_a_pattern() {
        assert_eq!(gathered(&["a.x", "a.y", "a.z"]), ["a.x", "a.y", "a.z"]);
        assert_eq!(gathered(&["a.w", "a.x", "a.y", "a.z", "b.x"]), ["a.*", "b.x"]);
        assert_eq!(gathered(&["a.1.x", "a.2.x", "a.3.x", "a.4.x"]), ["a.>"]);
        assert_eq!(gathered(&["alone", "other", "third", "fourth"]), ["alone", "fourth", "other", "third"]);
    }
}
