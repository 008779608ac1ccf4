//! The verdicts in the XML that build servers read. There is no standard of it; this is what Jenkins, GitLab and GitHub's actions
//! have in common.

use std::fmt::Write as _;
use std::time::Duration;

use super::Verdict;
use super::report::failure_text;

/// One suite for each file.
pub fn junit(verdicts: &[Verdict], took: Duration) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites{}>", counts(verdicts, took));
    for suite in verdicts.chunk_by(|one, next| one.file == next.file) {
        let took = suite.iter().map(|verdict| verdict.took).sum();
        let name = suite.first().map(|verdict| verdict.file.display().to_string()).unwrap_or_default();
        let _ = writeln!(xml, "  <testsuite name=\"{}\"{}>", escaped(&name), counts(suite, took));
        for verdict in suite {
            case(&mut xml, &name, verdict);
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

fn counts(verdicts: &[Verdict], took: Duration) -> String {
    let failures = verdicts.iter().filter(|verdict| !verdict.is_ok()).count();
    format!(" tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{:.6}\"", verdicts.len(), took.as_secs_f64())
}

fn case(xml: &mut String, suite: &str, verdict: &Verdict) {
    let (name, class) = (escaped(&verdict.name), escaped(suite));
    let time = verdict.took.as_secs_f64();
    let _ = write!(
        xml,
        "    <testcase name=\"{name}\" classname=\"{class}\" file=\"{class}\" line=\"{}\" time=\"{time:.6}\"",
        verdict.line
    );
    if verdict.is_ok() {
        *xml += "/>\n";
        return;
    }
    let text = failure_text(verdict);
    let first = text.lines().next().unwrap_or_default();
    let _ =
        writeln!(xml, ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>", escaped(first), escaped(&text));
}

/// Text in XML 1.0, which has no way to write most control characters. Those that it has are written as numbers, because a parser
/// makes spaces of them where they stand in an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' => escaped += "&#10;",
            '\r' => escaped += "&#13;",
            '\t' => escaped += "&#9;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use tidemill_core::config::cases::Mismatch;

    use super::*;

    #[test]
    fn nothing_in_a_text_ends_its_element() {
        assert_eq!(escaped("a<b>&\"c\"\u{1b}[31m\n"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}[31m&#10;");
    }

    #[test]
    fn lines_and_tabs_of_a_text_stay() {
        let found = "a table:\n1\t2\r\n3\u{1b}[31m\t4".to_owned();
        let mismatch = Mismatch { at: "outcome".to_owned(), expected: "done".to_owned(), found };
        let verdict = Verdict {
            file: "a_test.yaml".into(),
            line: 3,
            name: "a\ttab".to_owned(),
            took: Duration::ZERO,
            mismatches: vec![mismatch],
            trouble: None,
            log: Vec::new(),
            came: None,
        };
        let xml = junit(&[verdict], Duration::ZERO);
        assert!(xml.contains("<testcase name=\"a&#9;tab\""), "{xml}");
        let failure = "outcome&#10;  expected done&#10;  found    a table:&#10;1&#9;2&#10;3&#9;4</failure>";
        assert!(xml.contains(failure), "{xml}");
    }
}
