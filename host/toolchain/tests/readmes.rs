//! The SDKs' READMEs are in every project that `tidemill new` makes. What was meant to be filled in must be.

use std::fs;
use std::path::Path;

const SDKS: [&str; 5] = ["c", "go", "js", "python", "rust"];

/// Words that stand for something else wherever they are.
const PLACEHOLDERS: [&str; 6] = ["FIGURES", "FIXME", "PLACEHOLDER", "TBD", "TODO", "XXX"];

#[test]
fn no_readme_holds_a_place_for_something_else() -> std::io::Result<()> {
    for sdk in SDKS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk").join(sdk).join("README.md");
        let text = fs::read_to_string(path)?;
        let found = placeholders(&text);
        assert!(found.is_empty(), "sdk/{sdk}/README.md: {found:?}");
    }
    Ok(())
}

#[test]
fn a_placeholder_is_found() {
    let text =
        "needs MIN_MEMORY to start, as JSON\n\nFIGURES\n\nRESULTS\n\n`TM_TRY` and A TODO\n```sh\necho $MY_HOME\n```\n";
    assert_eq!(placeholders(text), ["MIN_MEMORY", "FIGURES", "RESULTS", "TODO"]);
}

/// Words in capitals, outside of code, that no sentence has: known ones, those with `_`, and those that are alone on their line.
fn placeholders(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            // What stands between backticks is every other part.
            let prose = line.split('`').step_by(2);
            let words =
                prose.flat_map(|part| part.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'));
            found.extend(words.filter(|word| is_placeholder(word, line)));
        }
    }
    found
}

fn is_placeholder(word: &str, line: &str) -> bool {
    let is_capital = word.len() > 1 && word.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_');
    is_capital && (PLACEHOLDERS.contains(&word) || word.contains('_') || line.trim() == word)
}
