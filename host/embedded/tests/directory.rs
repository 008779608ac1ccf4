//! The directory: who may open it, and what it says when it cannot be opened.

use std::fs;

use tidemill_core::port::{Broker as _, BrokerError};
use tidemill_embedded::EmbeddedBroker;

fn refusal(dir: &std::path::Path) -> BrokerError {
    match EmbeddedBroker::open(dir) {
        Ok(_) => panic!("`{}` opened", dir.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_directory_has_one_holder_and_the_refusal_names_it() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let dir = root.path().join("a/b");
    let broker = EmbeddedBroker::open(&dir).expect("a new directory opens");
    let error = refusal(&dir);
    assert!(matches!(error, BrokerError::Unavailable { .. }), "it may be free later: {error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("is held by process {}", std::process::id())), "{text}");

    broker.close().await.expect("it closes");
    let again = EmbeddedBroker::open(&dir).expect("a closed directory is free");
    drop(again);
    EmbeddedBroker::open(&dir).expect("a dropped one too");
}

#[cfg(unix)]
#[test]
fn a_new_directory_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let dir = root.path().join("log");
    let _broker = EmbeddedBroker::open(&dir).expect("a new directory opens");
    assert_eq!(fs::metadata(&dir).expect("it exists").permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn another_format_is_left_alone() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let dir = root.path().join("log");
    EmbeddedBroker::open(&dir).expect("a new directory opens").close().await.expect("it closes");
    let format = dir.join("format");

    for (content, expected) in [
        (
            Some("tidemill embedded log 2\n"),
            "says `tidemill embedded log 2`, this version reads `tidemill embedded log 1`",
        ),
        (Some("\u{1b}[31mgarbage"), "says `[31mgarbage`"),
        (None, "is missing beside existing data"),
    ] {
        match content {
            Some(content) => fs::write(&format, content).expect("it can be written"),
            None => fs::remove_file(&format).expect("it can be removed"),
        }
        let error = refusal(&dir);
        assert!(matches!(error, BrokerError::Incompatible(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    fs::write(&format, "tidemill embedded log 1\n").expect("it can be written");
    EmbeddedBroker::open(&dir).expect("nothing was changed");
}
