//! Text in, configuration or diagnostics out.

mod documents;
mod meaning;
mod mistakes;

use std::collections::BTreeMap;

use super::{MapLookup, RuntimeConfig, Secret, load};

/// The example of the design, without what comes later.
const EXAMPLE: &str = include_str!("tests/example.yaml");

fn lookup() -> MapLookup {
    let texts = |entries: &[(&str, &str)]| {
        entries.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>()
    };
    MapLookup {
        env: texts(&[("WORD", "lots"), ("NUMBER", "7"), ("EMPTY", ""), ("STREAM", "ORDERS")]),
        secrets: BTreeMap::from([
            ("nats.creds", "hunter2"),
            ("api.key", "hunter2"),
            ("postgres.url", "postgresql://tidemill:hunter2@127.0.0.1/orders"),
            ("http.token", "hunter2-hunter2-hunter2"),
        ])
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Secret::new(text)))
        .collect(),
        files: texts(&[("creds", "hunter2\n")]),
    }
}

fn loaded(text: &str) -> RuntimeConfig {
    load(text, &lookup()).unwrap_or_else(|diagnostics| panic!("{diagnostics}\n{text}"))
}
