//! Names that appear in `runtime.yaml`, in log lines and in the names of broker objects.
//!
//! One alphabet for routes and plugins keeps them usable unescaped as a subject token, a file name, a durable consumer's
//! name and a metric label.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} name: {rule}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

const KEBAB_RULE: &str = "expected 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter or a digit";
const COLLECTION_RULE: &str = "expected 1 to 63 of `a-z`, `0-9`, `-` and `_`, beginning with a letter";
const STREAM_RULE: &str = "expected 1 to 63 of `A-Z`, `a-z`, `0-9`, `-` and `_`";

fn is_kebab(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// As a field of JSON would be called, too.
fn is_collection(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn is_stream(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn try_new(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { text: text.to_owned(), kind: $kind, rule: $rule })
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A route of `runtime.yaml`. Also the name of its durable position in the broker.
    RouteName, "route", is_kebab, KEBAB_RULE
);
name!(
    /// A plugin: the name of its file in the plugins folder without `.wasm`.
    PluginName, "plugin", is_kebab, KEBAB_RULE
);
name!(
    /// A projection of `runtime.yaml`. Also the name of its place in the store of read models.
    ProjectionName, "projection", is_kebab, KEBAB_RULE
);
name!(
    /// A collection of documents in a read model.
    CollectionName, "collection", is_collection, COLLECTION_RULE
);
name!(
    /// A stream of the broker.
    StreamName, "stream", is_stream, STREAM_RULE
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_tokens_files_and_labels() {
        assert!(RouteName::try_new("high-value-orders").is_ok());
        for bad in ["", "-a", "A", "a.b", "a/b", "a b", "ä", &"a".repeat(64)] {
            assert!(RouteName::try_new(bad).is_err(), "{bad:?}");
        }
        assert!(StreamName::try_new("ORDERS_2").is_ok());
        assert!(StreamName::try_new("orders.eu").is_err());
    }
}
