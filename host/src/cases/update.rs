//! `--update`: files of cases, written anew from what came out.
//!
//! A person's file is at stake. It is replaced as a whole or not at all, only by what holds, and only if it is still the one that was
//! run: between reading it and here plugins were compiled and cases ran, time enough to go on writing in an editor.

use std::path::{Path, PathBuf};
use std::{fs, process};

use anyhow::{Context, Result, bail};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::config::cases::{self, CameOut};

use super::{TestFile, Verdict};

/// Rewrites the expectations of the cases that were not as expected. Answers for each file that has some how many of them are
/// changed, or why the file is left as it is.
pub fn update(config: &RuntimeConfig, files: &[TestFile], verdicts: &[Verdict]) -> Vec<(PathBuf, Result<usize>)> {
    let mut updated = Vec::new();
    for file in files {
        let failed = verdicts.iter().filter(|verdict| verdict.file == file.path && !verdict.is_ok());
        let came: Vec<_> = failed.filter_map(|verdict| Some((verdict.line, verdict.came.as_ref()?))).collect();
        if !came.is_empty() {
            let written = update_one(config, file, &came);
            let written = written.with_context(|| format!("`{}` is left as it is", file.path.display()));
            updated.push((file.path.clone(), written.map(|()| came.len())));
        }
    }
    updated
}

fn update_one(config: &RuntimeConfig, file: &TestFile, came: &[(usize, &CameOut)]) -> Result<()> {
    let text = cases::update(&file.text, &file.cases, came, config)?;
    if fs::read_to_string(&file.path).context("reading it once more")? != file.text {
        bail!("it was changed while its cases ran");
    }
    replace(&file.path, &text)
}

/// Nobody ever sees half a file. Where a link was there is a link afterwards, and who may read the file may read the new one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let path = fs::canonicalize(path)?;
    // A file in a folder that may be written is replaced even if itself may not be.
    fs::OpenOptions::new().write(true).open(&path).context("it may not be written")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = path.with_file_name(format!(".{name}.{}.part", process::id()));
    let written = fs::write(&part, text)
        .and_then(|()| fs::set_permissions(&part, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&part, &path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written.context("writing it")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use serde_json::json;
    use tempfile::TempDir;
    use tidemill_core::config::{self, MapLookup};

    use super::*;

    const TEXT: &str = r#"version: 1
tests:
  - name: nothing is emitted
    events: [{ subject: in.first, event: { type: A } }]
    expect:
      emits: [{ to: out.first }]
"#;

    fn runtime() -> RuntimeConfig {
        let text = r#"
version: 1
streams: [{ name: IN, subjects: ["in.>"] }]
routes: [{ name: first, source: { stream: IN }, handler: guest }]
"#;
        config::load(text, &MapLookup::default()).unwrap()
    }

    fn file(path: &Path) -> TestFile {
        fs::write(path, TEXT).unwrap();
        let cases = cases::load(TEXT, &runtime()).unwrap();
        TestFile { path: path.to_owned(), text: TEXT.to_owned(), cases }
    }

    /// A case that is not as expected.
    fn failed(path: &Path, came: CameOut) -> Verdict {
        Verdict {
            file: path.to_owned(),
            line: 3,
            name: "nothing is emitted".to_owned(),
            took: Duration::ZERO,
            mismatches: Vec::new(),
            trouble: Some("it is not".to_owned()),
            log: Vec::new(),
            came: Some(came),
        }
    }

    fn nothing() -> CameOut {
        CameOut { dead_letters: Some(Vec::new()), ..CameOut::default() }
    }

    fn names(dir: &TempDir) -> Vec<String> {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_behind_its_link_and_with_its_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.yaml"), dir.path().join("a_test.yaml"));
        let _ = file(&real);
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.yaml", &link).unwrap();
        let updated = update(&runtime(), &[file(&link)], &[failed(&link, nothing())]);
        assert!(matches!(updated.as_slice(), [(path, Ok(1))] if *path == link), "{updated:?}");
        assert_eq!(fs::read_to_string(&real).unwrap(), TEXT.replace("[{ to: out.first }]", "[]"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(&dir), ["a_test.yaml", "real.yaml"]);
    }

    #[test]
    fn a_file_that_somebody_changes_meanwhile_is_left_alone_and_the_others_are_updated() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one_test.yaml"), dir.path().join("other_test.yaml"));
        let files = [file(&one), file(&other)];
        let theirs = format!("{TEXT}# more to come\n");
        fs::write(&one, &theirs).unwrap();
        let updated = update(&runtime(), &files, &[failed(&one, nothing()), failed(&other, nothing())]);
        let [(_, Err(why)), (_, Ok(1))] = updated.as_slice() else { panic!("{updated:?}") };
        assert_eq!(
            crate::exit::text(why),
            format!("error: `{}` is left as it is\n  because: it was changed while its cases ran", one.display())
        );
        assert_eq!(fs::read_to_string(&one).unwrap(), theirs);
        assert_ne!(fs::read_to_string(&other).unwrap(), TEXT);
    }

    #[test]
    fn what_no_file_can_say_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a_test.yaml");
        // An emit of which nothing is known has nothing that could be expected.
        let came = CameOut { emits: vec![json!({ "to": "a" }), json!({})], ..nothing() };
        let updated = update(&runtime(), &[file(&path)], &[failed(&path, came)]);
        assert!(matches!(updated.as_slice(), [(_, Err(_))]), "{updated:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
        assert_eq!(names(&dir), ["a_test.yaml"]);
    }
}
