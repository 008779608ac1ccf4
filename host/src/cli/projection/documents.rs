//! Documents of a read model on the terminal.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;
use tidemill_core::text::clean_text;

use super::super::{Output, say, say_json};
use crate::control::Remote;
use crate::exit;

/// The widest column of a table, in characters.
const MAX_WIDTH: usize = 40;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The collection.
    collection: String,
    /// The document's key. Left out: the documents that the filters admit.
    key: Option<String>,
    /// `FIELD=VALUE` or `FIELD[OPERATOR]=VALUE`, as in the URL; may be given several times.
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Fields, separated by commas; with `-` in front the largest first.
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    /// At most so many documents.
    #[arg(long)]
    limit: Option<usize>,
    /// Where the page before ended.
    #[arg(long)]
    cursor: Option<String>,
    /// The fields that are shown, separated by commas.
    #[arg(long)]
    fields: Option<String>,
    /// `STREAM:SEQUENCE`: what is stored up to there must be in the answer.
    #[arg(long, value_name = "STREAM:SEQUENCE")]
    wait_for: Option<String>,
    /// How long to wait for that.
    #[arg(long)]
    timeout: Option<String>,
}

pub(super) async fn query(remote: &Remote, output: Output, args: Args) -> Result<ExitCode> {
    let (collection, key, params) = args.into_parts();
    let answer = remote.documents(collection, key, params).await.map_err(exit::broker)?;
    match output {
        Output::Json => say_json(&answer)?,
        Output::Text => say(text(&answer)),
    }
    Ok(ExitCode::SUCCESS)
}

// === impl Args ===

impl Args {
    /// The collection, the key, and the rest as the parameters of the URL.
    fn into_parts(self) -> (String, Option<String>, Vec<(String, String)>) {
        let filters = self.filter.iter().map(|filter| {
            let (field, value) = filter.split_once('=').unwrap_or((filter, ""));
            (field.to_owned(), value.to_owned())
        });
        let named = [
            ("sort", self.sort),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor),
            ("fields", self.fields),
            ("wait_for", self.wait_for),
            ("timeout", self.timeout),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        (self.collection, self.key, filters.chain(named).collect())
    }
}

/// A document as JSON, a page as a table with a column for each field that a document of it has.
fn text(answer: &Value) -> String {
    let Some(items) = answer["items"].as_array() else {
        return serde_json::to_string_pretty(answer).unwrap_or_default();
    };
    let mut columns = vec!["key".to_owned()];
    for name in items.iter().filter_map(|item| item["document"].as_object()).flat_map(|document| document.keys()) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let row = |item: &Value| -> Vec<String> {
        let cell = |name: &String| shown(if name == "key" { &item["key"] } else { &item["document"][name.as_str()] });
        columns.iter().map(cell).collect()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([columns[index].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&columns)];
    lines.extend(rows.iter().map(|row| line(row)));
    if let Some(next) = answer["next"].as_str() {
        lines.push(format!("\nmore: --cursor {next}"));
    }
    lines.join("\n")
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    clean_text(&text, MAX_WIDTH).replace('\n', " ")
}
