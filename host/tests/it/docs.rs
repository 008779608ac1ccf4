//! What the documents say exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if hidden || path.ends_with("target") || path.ends_with("node_modules") {
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
    let section = |heading: &str| {
        let (_, rest) = text.split_once(heading).unwrap();
        rest.split_once("\n## ").unwrap().0.to_owned()
    };
    let tables = ["Effects happen once", "Reload", "Projections"].map(|heading| section(&format!("\n## {heading}\n")));
    let tables = tables.concat();
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
    assert!(checked >= 36, "{checked} rows");
}

/// The hostile and faulty cases that must be shown. Others may be listed beside them.
const CASES: [(char, &[u32]); 6] = [
    ('A', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ('B', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ('C', &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ('D', &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ('E', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ('G', &[2, 3, 5, 6, 8, 9]),
];

/// Case and test column of every row of `docs/reliability.md`.
fn reliability_rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case |"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "case, what is done, what happens, test: {row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        (cells[0].to_owned(), cells[3].to_owned())
    })
    .collect()
}

/// The functions that a test attribute stands above.
fn tests_of(code: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in code.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ") {
            if is_test {
                found.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
            }
            is_test = false;
        }
    }
}

/// The names between back ticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_hostile_case_has_one_row() {
    let rows = reliability_rows();
    let listed: BTreeSet<&str> = rows.iter().map(|(case, _)| case.as_str()).collect();
    assert_eq!(listed.len(), rows.len(), "a case is listed twice");
    for (group, numbers) in CASES {
        for number in numbers {
            let case = format!("{group}{number}");
            assert!(listed.contains(case.as_str()), "docs/reliability.md has no row for {case}");
        }
    }
}

#[test]
fn every_hostile_case_names_tests_that_exist() {
    let mut sources = Vec::new();
    files(&root().join("host"), "rs", &mut sources);
    files(&root().join("sdk"), "rs", &mut sources);
    let mut tests = BTreeSet::new();
    sources.iter().for_each(|path| tests_of(&fs::read_to_string(path).unwrap(), &mut tests));
    for (case, cell) in reliability_rows() {
        if let Some(reason) = cell.strip_prefix("not tested: ") {
            assert!(reason.len() >= 20, "{case}: the reason is no reason: {reason}");
            continue;
        }
        assert!(names(&cell).count() > 0 || cell == "pending", "{case} names no test: {cell}");
        for name in names(&cell) {
            assert!(tests.contains(name), "{case}: there is no test `{name}`");
        }
    }
}

#[test]
fn no_hostile_case_is_left_for_later() {
    let left: Vec<String> =
        reliability_rows().into_iter().filter(|(_, cell)| cell.contains("pending")).map(|(case, _)| case).collect();
    assert!(left.is_empty(), "docs/reliability.md lacks tests of {left:?}");
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

/// The code in the guide is the code of the SDKs' own guides, where it is compiled and run.
#[test]
fn every_handler_in_the_guide_is_one_that_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = fs::read_to_string(root.join("docs/handlers.md")).unwrap();
    let sdks: Vec<String> = ["rust", "js", "python", "go", "c"]
        .map(|sdk| fs::read_to_string(root.join(format!("sdk/{sdk}/README.md"))).unwrap())
        .into();
    let mut blocks = 0;
    for block in guide.split("```").skip(1).step_by(2) {
        let (language, code) = block.split_once('\n').unwrap();
        if ["rust", "ts", "python", "go", "c", "cpp", "zig"].contains(&language) {
            blocks += 1;
            assert!(sdks.iter().any(|sdk| sdk.contains(code)), "no SDK's README has this block:\n{code}");
        }
    }
    assert_eq!(blocks, 11, "one handler in each language, and four tests");
}
