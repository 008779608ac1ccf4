//! How cases ended, for a person and for a program.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::text::clean_text;

use super::Verdict;
use crate::files::counted;

/// What of one text is shown.
const MAX_TEXT_BYTES: usize = 2048;

/// Lines of a plugin's log that are shown below a failure.
const MAX_LOG_LINES: usize = 10;

pub fn as_text(verdicts: &[Verdict], took: Duration) -> String {
    let mut text = String::new();
    let mut file = None;
    for verdict in verdicts {
        if file != Some(&verdict.file) {
            let gap = if file.is_some() { "\n" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}{}", verdict.file.display());
            file = Some(&verdict.file);
        }
        write(&mut text, verdict);
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.is_ok()).count();
    let (cases, ok) = (counted(verdicts.len(), "case"), verdicts.len() - failed);
    let failed = if failed > 0 { format!(", {failed} FAILED") } else { String::new() };
    text + &format!("\n{cases}: {ok} ok{failed}, in {took:.1?}")
}

fn write(text: &mut String, verdict: &Verdict) {
    let word = if verdict.is_ok() { "ok    " } else { "FAILED" };
    let name = clean_text(&verdict.name, MAX_TEXT_BYTES);
    let place = if verdict.is_ok() { String::new() } else { format!(" (line {})", verdict.line) };
    let _ = writeln!(text, "  {word}  {name}{place}  {:.1?}", verdict.took);
    for line in details(verdict) {
        let _ = writeln!(text, "          {}", clean_text(&line, MAX_TEXT_BYTES));
    }
}

/// What is not as expected, line by line.
fn details(verdict: &Verdict) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if let Some(trouble) = &verdict.trouble {
        lines.extend(trouble.lines().map(str::to_owned));
    }
    for it in &verdict.mismatches {
        lines.push(it.at.clone());
        lines.push(format!("  expected {}", it.expected));
        lines.push(format!("  found    {}", it.found));
    }
    if !verdict.is_ok() && !verdict.log.is_empty() {
        lines.push("log".to_owned());
        let skipped = verdict.log.len().saturating_sub(MAX_LOG_LINES);
        lines.extend((skipped > 0).then(|| format!("  … {} before", counted(skipped, "line"))));
        lines.extend(verdict.log.iter().skip(skipped).map(|line| format!("  {line}")));
    }
    lines
}

/// The same without columns, for one case. It is read in a file and not in a terminal: lines and tabs of a plugin's text stay.
pub(super) fn failure_text(verdict: &Verdict) -> String {
    let clean = |line: &str| {
        let parts: Vec<String> = line.split('\t').map(|part| clean_text(part, MAX_TEXT_BYTES)).collect();
        parts.join("\t")
    };
    details(verdict).iter().flat_map(|text| text.lines()).map(clean).collect::<Vec<_>>().join("\n")
}

pub fn as_json(verdicts: &[Verdict], took: Duration) -> Value {
    let failed = verdicts.iter().filter(|verdict| !verdict.is_ok()).count();
    let cases = verdicts.iter().map(|verdict| {
        json!({
            "file": verdict.file.display().to_string(),
            "line": verdict.line,
            "name": verdict.name,
            "ok": verdict.is_ok(),
            "took_us": verdict.took.as_micros() as u64,
            "trouble": verdict.trouble,
            "mismatches": verdict.mismatches,
            "log": verdict.log,
        })
    });
    json!({
        "cases": cases.collect::<Vec<_>>(),
        "ok": verdicts.len() - failed,
        "failed": failed,
        "took_us": took.as_micros() as u64,
    })
}
