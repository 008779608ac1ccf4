//! `${env:X}`, `${env:X:-default}`, `${secret:X}` and `${file:X}` inside of texts.
//!
//! Replaced after parsing, in values only: what an environment variable holds can never change the shape of the file.
//! The core has no environment and no files, so the values come through [`Lookup`].

use std::collections::BTreeMap;

use super::Secret;

/// Where the values of references come from.
pub trait Lookup {
    /// An environment variable; `None` if it is not set.
    fn env(&self, name: &str) -> Option<String>;
    /// A secret. The error says why there is none, and must not hold the secret.
    fn secret(&self, name: &str) -> Result<Secret, String>;
    /// The text of a file.
    fn file(&self, path: &str) -> Result<String, String>;
    /// Whether there are references at all; without them `${` is two characters like any others.
    fn replaces(&self) -> bool {
        true
    }
}

/// Nothing is replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verbatim;

/// A lookup in given values; for tests, and for checking a file apart from its environment.
#[derive(Debug, Clone, Default)]
pub struct MapLookup {
    pub env: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, Secret>,
    pub files: BTreeMap<String, String>,
}

impl Lookup for Verbatim {
    fn env(&self, _name: &str) -> Option<String> {
        None
    }

    fn secret(&self, _name: &str) -> Result<Secret, String> {
        Err("nothing is replaced here".to_owned())
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("nothing is replaced here".to_owned())
    }

    fn replaces(&self) -> bool {
        false
    }
}

impl Lookup for MapLookup {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn secret(&self, name: &str) -> Result<Secret, String> {
        self.secrets.get(name).cloned().ok_or_else(|| "there is no such secret".to_owned())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }
}

/// Whether a secret may flow into the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Allowed,
    Refused,
}

/// A mistake in a reference: message and hint.
pub(super) type Problem = (String, Option<String>);

/// The text with every reference replaced.
pub(super) fn interpolate(text: &str, lookup: &dyn Lookup, secrets: Secrets) -> Result<String, Vec<Problem>> {
    if !lookup.replaces() {
        return Ok(text.to_owned());
    }
    let (mut resolved, mut problems) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            resolved.push_str(&rest[..start - 1]);
            resolved.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        resolved.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            let hint = "close it with `}`, or write `$${` for the two characters themselves";
            problems.push(("a reference `${` is not closed".to_owned(), Some(hint.to_owned())));
            return Err(problems);
        };
        match resolve(&rest[start + 2..start + length], lookup, secrets) {
            Ok(value) => resolved.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = &rest[start + length + 1..];
    }
    resolved.push_str(rest);
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

/// The value of what stands between the braces.
fn resolve(reference: &str, lookup: &dyn Lookup, secrets: Secrets) -> Result<String, Problem> {
    match reference.split_once(':') {
        Some(("env", name)) => match name.split_once(":-") {
            Some((name, default)) => {
                Ok(lookup.env(name).filter(|value| !value.is_empty()).unwrap_or(default.to_owned()))
            }
            None => lookup.env(name).ok_or_else(|| unset_variable(name)),
        },
        Some(("secret", name)) if secrets == Secrets::Allowed => lookup
            .secret(name)
            .map(|secret| secret.reveal().to_owned())
            .map_err(|why| (format!("the secret `{name}` cannot be had: {why}"), None)),
        Some(("secret", name)) => Err(misplaced_secret(name)),
        Some(("file", path)) => lookup
            .file(path)
            .map(|text| {
                text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text).to_owned()).unwrap_or(text)
            })
            .map_err(|why| (format!("the file `{path}` cannot be read: {why}"), None)),
        _ => Err(unknown_reference(reference)),
    }
}

fn unset_variable(name: &str) -> Problem {
    let hint = format!("set it, or give a default: `${{env:{name}:-value}}`");
    (format!("the environment variable `{name}` is not set"), Some(hint))
}

fn misplaced_secret(name: &str) -> Problem {
    let hint =
        "secrets go into `broker.nats.credentials`, `password` or `token`, or into `plugins.settings.<plugin>.secrets`";
    (format!("the secret `{name}` is not allowed in this field, whose value may be shown"), Some(hint.to_owned()))
}

fn unknown_reference(reference: &str) -> Problem {
    let hint = "write `$${` for the two characters themselves";
    let message = format!("expected `${{env:NAME}}`, `${{secret:NAME}}` or `${{file:PATH}}`, found `${{{reference}}}`");
    (message, Some(hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup() -> MapLookup {
        let text = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        MapLookup {
            env: text("HOST", "example.org"),
            secrets: BTreeMap::from([("key".to_owned(), Secret::new("s3cret"))]),
            files: text("/etc/motd", "hello\n"),
        }
    }

    #[test]
    fn references_become_values() {
        for (text, expected) in [
            ("nats://${env:HOST}:4222", "nats://example.org:4222"),
            ("${env:PORT:-4222}", "4222"),
            ("${env:PORT:-}", ""),
            ("${env:HOST:-other}", "example.org"),
            ("${file:/etc/motd}!", "hello!"),
            ("$${env:HOST}", "${env:HOST}"),
            ("5 $ and {x}", "5 $ and {x}"),
        ] {
            assert_eq!(interpolate(text, &lookup(), Secrets::Refused).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(interpolate("${secret:key}", &lookup(), Secrets::Allowed).as_deref(), Ok("s3cret"));
    }

    #[test]
    fn every_bad_reference_is_reported() {
        let problems = interpolate("${env:A}${secret:key}${HOME}${", &lookup(), Secrets::Refused).unwrap_err();
        let messages: Vec<_> = problems.iter().map(|(message, _)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the environment variable `A` is not set",
                "the secret `key` is not allowed in this field, whose value may be shown",
                "expected `${env:NAME}`, `${secret:NAME}` or `${file:PATH}`, found `${HOME}`",
                "a reference `${` is not closed",
            ]
        );
    }
}
