//! What the documents say exists.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if hidden || path.ends_with("target") {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path);
        }
    }
}

/// Every row of the crash tables names its test, and the test is there.
#[test]
fn every_row_of_the_crash_tables_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, tables) = text.split_once("## Effects happen once").unwrap();
    let (tables, _) = tables.split_once("\n## ").unwrap();
    let mut sources = Vec::new();
    files(&root().join("host"), "rs", &mut sources);
    let code: Vec<String> = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();

    let rows = tables.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    let mut checked = 0;
    for row in rows {
        let name = row.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test in: {row}"));
        let definition = format!("fn {name}(");
        assert!(code.iter().any(|text| text.contains(&definition)), "there is no test `{name}`");
        checked += 1;
    }
    assert!(checked >= 15, "{checked} rows");
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut documents = Vec::new();
    files(&root(), "md", &mut documents);
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || link.contains("://") || path.contains(' ') || path.contains('`') {
                continue;
            }
            let target = document.parent().unwrap().join(path);
            assert!(target.exists(), "{}: {link}", document.display());
        }
    }
}
