//! File names to types and versions, and the order of versions.

use std::cmp::Ordering;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a file name must not hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b'\\');

/// Whose schema a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileRole {
    Schema {
        kind: String,
        version: Option<String>,
    },
    /// Only there to be referred to.
    Shared,
}

/// The role of a file by its path, or what is wrong with the path.
pub(super) fn role(path: &str) -> Result<FileRole, String> {
    let Some(stem) = path.strip_suffix(".json") else {
        return Err("is not a schema: expected a name that ends in `.json`".to_owned());
    };
    let parts: Vec<&str> = stem.split('/').collect();
    if path.contains('\\') || parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err("is not a path inside of the schema folder".to_owned());
    }
    if parts.len() > 2 || parts[0].starts_with('_') || parts[parts.len() - 1].starts_with('_') {
        return Ok(FileRole::Shared);
    }
    let kind = decode(parts[0])?;
    let version = parts.get(1).map(|part| decode(part)).transpose()?;
    Ok(FileRole::Schema { kind, version })
}

fn decode(part: &str) -> Result<String, String> {
    let well_formed = part.match_indices('%').all(|(at, _)| {
        part.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    match percent_decode_str(part).decode_utf8() {
        Ok(text) if well_formed => Ok(text.into_owned()),
        _ => {
            Err("has a bad name: `%` must be followed by two hexadecimal digits (a `%` itself is written `%25`)"
                .to_owned())
        }
    }
}

/// A type or a version as part of a file name.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The version that a `dataschema` names: its last segment without `.json`. `None` when that is the type itself.
pub(super) fn version_in(dataschema: &str, kind: &str) -> Option<String> {
    let path = dataschema.split(['#', '?']).next().unwrap_or_default().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    // A version such as `v1:2` is rare; a type such as `com.acme:order` in a URN is not.
    let last = last.strip_suffix(".json").unwrap_or(last);
    let version = percent_decode_str(last).decode_utf8_lossy().into_owned();
    (version != kind && !version.is_empty()).then_some(version)
}

/// Natural order: `2` before `10`, `1.2` before `1.10`, `2.0-rc.1` before `2.0`. A leading `v` does not count.
pub(super) fn compare_versions(a: &str, b: &str) -> Ordering {
    let split = |text| -> (&str, Option<&str>) {
        let text: &str = text;
        let text = text.strip_prefix('v').unwrap_or(text);
        text.split_once('-').map_or((text, None), |(release, candidate)| (release, Some(candidate)))
    };
    let ((release_a, candidate_a), (release_b, candidate_b)) = (split(a), split(b));
    natural(release_a, release_b)
        .then_with(|| match (candidate_a, candidate_b) {
            (Some(a), Some(b)) => natural(a, b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        })
        // Two spellings of one version (`1`, `v1`) still have an order.
        .then_with(|| a.cmp(b))
}

fn natural(mut a: &str, mut b: &str) -> Ordering {
    loop {
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (false, false) => {}
            (a_ended, b_ended) => return b_ended.cmp(&a_ended),
        }
        let (run_a, rest_a) = first_run(a);
        let (run_b, rest_b) = first_run(b);
        let numbers = run_a.as_bytes()[0].is_ascii_digit() && run_b.as_bytes()[0].is_ascii_digit();
        let order = if numbers {
            let (a, b) = (run_a.trim_start_matches('0'), run_b.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            run_a.cmp(run_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Splits after the first run of digits or of anything else. The text is not empty.
fn first_run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_types_and_versions() {
        let schema = |kind: &str, version: Option<&str>| {
            Ok(FileRole::Schema { kind: kind.to_owned(), version: version.map(str::to_owned) })
        };
        for (path, expected) in [
            ("OrderCreated.json", schema("OrderCreated", None)),
            ("OrderCreated/2.json", schema("OrderCreated", Some("2"))),
            ("com.acme.order.created.json", schema("com.acme.order.created", None)),
            ("com.acme:order/1.10.json", schema("com.acme:order", Some("1.10"))),
            ("orders%2Fcreated.json", schema("orders/created", None)),
            ("100%25.json", schema("100%", None)),
            ("%2E%2E.json", schema("..", None)),
            ("_money.json", Ok(FileRole::Shared)),
            ("_shared/money.json", Ok(FileRole::Shared)),
            ("Order/parts/line.json", Ok(FileRole::Shared)),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
        for path in ["a.yaml", "../a.json", "/etc/a.json", "a//b.json", "a\\b.json", "100%.json", "%ff.json"] {
            assert!(role(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_name_survives_the_file_system() {
        for kind in ["a/b", "a%b", "a\\b", "a:b.c", "ä€"] {
            let Ok(FileRole::Schema { kind: read, .. }) = role(&format!("{}.json", encode(kind))) else { panic!() };
            assert_eq!(read, kind);
        }
    }

    #[test]
    fn versions_are_in_natural_order() {
        let mut versions = ["10", "v2", "1.10", "2", "1.2", "2.0", "2.0-rc.10", "2.0-rc.2", "1", "draft", "2026-01"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(versions, ["1", "1.2", "1.10", "2", "v2", "2.0-rc.2", "2.0-rc.10", "2.0", "10", "2026-01", "draft"]);
    }

    #[test]
    fn dataschema_names_a_version() {
        for (dataschema, version) in [
            ("https://x/schemas/Order/2.json", Some("2")),
            ("https://x/schemas/Order/2.json#/definitions/a", Some("2")),
            ("Order/2", Some("2")),
            ("2", Some("2")),
            ("https://x/Order.json", None),
            ("https://x/Order/", None),
            ("Order/1%2E5.json?x=1", Some("1.5")),
        ] {
            assert_eq!(version_in(dataschema, "Order").as_deref(), version, "{dataschema}");
        }
    }
}
