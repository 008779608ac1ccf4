//! Keeps the secrets that a plugin was granted out of what the host prints of its text.
//!
//! A plugin is given a secret to use it, and may send it anywhere that it may reach; this is no wall against a plugin that
//! wants to tell. It is for the library that logs its whole configuration, and for the panic that quotes a token: those
//! must not end in a log file or a dead letter.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tidemill_core::config::Secret;

/// Shorter ones would make holes in ordinary words, and guessing them is easy anyway.
const MIN_BYTES: usize = 6;

const MASK: &str = "***";

/// The secrets of one plugin.
pub(crate) struct Redactor {
    /// The longest first, so that one which contains another vanishes whole.
    secrets: Vec<String>,
}

// === impl Redactor ===

impl Redactor {
    pub(crate) fn new(secrets: &BTreeMap<String, Secret>) -> Self {
        let mut texts: Vec<String> = secrets.values().flat_map(|secret| printable_forms(secret.reveal())).collect();
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        Self { secrets: texts }
    }

    /// The text without the secrets. It is copied only if one was found.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in &self.secrets {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), MASK));
            }
        }
        clean
    }
}

/// A secret as it is, and each line of one that has several, because a log is cut into lines. The lines that frame a key
/// (`-----BEGIN …`) are no secret.
fn printable_forms(secret: &str) -> Vec<String> {
    let whole = std::iter::once(secret.trim());
    let lines = secret.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    whole.chain(lines).filter(|text| text.len() >= MIN_BYTES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(&secrets.iter().map(|text| ((*text).to_owned(), Secret::new(*text))).collect())
    }

    #[test]
    fn each_secret_is_masked_wherever_it_stands() {
        let redactor = redactor(&["hunter22", "hunter22-prod", "short"]);
        assert_eq!(redactor.redact("a hunter22-prod b=hunter22hunter22 short"), "a *** b=****** short");
    }

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line() {
        let key = "-----BEGIN KEY-----\nMC4CAQAwBQ\nYDK2VwBCIE\n-----END KEY-----\n";
        let redactor = redactor(&[key]);
        assert_eq!(redactor.redact(&format!("key: {key}")), "key: ***\n");
        assert_eq!(redactor.redact("-----BEGIN KEY----- YDK2VwBCIE"), "-----BEGIN KEY----- ***");
    }

    #[test]
    fn without_secrets_nothing_is_copied() {
        assert!(matches!(redactor(&["short"]).redact("any text"), Cow::Borrowed(_)));
    }
}
