//! From the tree to the written types of [`file`](super::file): shape, unknown fields, missing fields.
//!
//! A value that cannot be read is reported and left out, and reading goes on, so that all mistakes come out together. One
//! declaration per record, through [`record!`], is the decoder, the JSON Schema and the documentation; serde would have
//! been a second decoder whose errors have neither a place nor a second mistake.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::diagnostic::{Place, Report, shorten};
use super::interpolate::{Lookup, Secrets, interpolate};
use super::words;
use super::yaml::{Kind, Node, resolve_plain};

/// What is needed to read values: where references come from, and where mistakes go.
pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Lookup,
    pub(super) report: &'a mut Report,
}

/// What can stand in `runtime.yaml`.
pub(super) trait Written: Sized {
    /// `None`: something is wrong here, and it has been reported.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A field that may be left out. `None` as well if its value was wrong, which has been reported then.
pub(super) type Optional<T> = Option<At<T>>;

/// A field that must be there. Holds `None` if it is not, which has been reported then.
#[derive(Debug)]
pub(super) struct Required<T>(pub(super) Option<At<T>>);

/// A list of at least `MIN` elements. `complete` is false if some element was wrong and is not among `items`.
#[derive(Debug)]
pub(super) struct List<T, const MIN: usize = 0> {
    pub(super) items: Vec<At<T>>,
    pub(super) complete: bool,
}

/// A mapping whose keys the user chooses. A value of `None` was wrong and has been reported.
#[derive(Debug)]
pub(super) struct Map<T>(pub(super) Vec<(At<String>, Option<At<T>>)>);

/// Any value, as JSON, references replaced.
#[derive(Debug)]
pub(super) struct Any(pub(super) serde_json::Value);

/// A record's field, required or not.
pub(super) trait Slot {
    type Item: Written;
    const REQUIRED: bool;
    fn put(item: Option<At<Self::Item>>) -> Self;
}

impl<T: Written> Slot for Optional<T> {
    type Item = T;
    const REQUIRED: bool = false;

    fn put(item: Option<At<T>>) -> Self {
        item
    }
}

impl<T: Written> Slot for Required<T> {
    type Item = T;
    const REQUIRED: bool = true;

    fn put(item: Option<At<T>>) -> Self {
        Self(item)
    }
}

/// Declares a mapping with known fields: the type, how it is read, and its JSON Schema.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $slot:ty,)* }) => {
        #[derive(Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$doc])*
        pub(in crate::config) struct $name {
            $($(#[$attribute])* pub(in crate::config) $field: $slot,)*
        }

        impl $crate::config::read::Written for $name {
            fn read(
                node: &$crate::config::yaml::Node,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                const FIELDS: &[(&str, bool)] = &[$((
                    $crate::config::read::field_name(stringify!($field)),
                    <$slot as $crate::config::read::Slot>::REQUIRED,
                )),*];
                let fields = $crate::config::read::Fields::open(node, FIELDS, reader)?;
                Some(Self {
                    $($field: <$slot as $crate::config::read::Slot>::put(
                        fields.read($crate::config::read::field_name(stringify!($field)), reader),
                    ),)*
                })
            }
        }
    };
}
pub(super) use record;

/// A field's name without the `r#` that Rust may want before it.
pub(super) const fn field_name(text: &str) -> &str {
    match text.as_bytes() {
        [b'r', b'#', ..] => text.split_at(2).1,
        _ => text,
    }
}

// --- records -----------------------------------------------------------------------------------------------------------

/// The fields of one mapping.
pub(super) struct Fields<'n> {
    entries: &'n [super::yaml::Entry],
    known: &'static [(&'static str, bool)],
}

impl<'n> Fields<'n> {
    /// Reports unknown and missing fields.
    pub(super) fn open(
        node: &'n Node,
        known: &'static [(&'static str, bool)],
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let names: Vec<&'static str> = known.iter().map(|(name, _)| *name).collect();
        let entries = match &node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => {
                let hint = format!("its fields are {}", words::enumerate(&names));
                return reader.unexpected(node, "a mapping", Some(hint));
            }
        };
        let mut meant = Vec::new();
        for entry in entries.iter().filter(|entry| !names.contains(&entry.key.as_str())) {
            let advice = words::advise(&entry.key, &names);
            reader.report.push(&entry.key_place, advice.message, advice.hint);
            meant.extend(advice.meant);
        }
        for (name, required) in known {
            let given = entries.iter().any(|entry| entry.key == *name) || meant.contains(name);
            if *required && !given {
                reader.report.error(&node.place, format!("missing field `{name}`"));
            }
        }
        Some(Self { entries, known })
    }

    /// The field's value. An optional field without a value (`timeout:`) counts as left out.
    pub(super) fn read<T: Written>(&self, name: &str, reader: &mut Reader<'_>) -> Option<At<T>> {
        let node = &self.entries.iter().find(|entry| entry.key == name)?.value;
        let required = self.known.iter().any(|(known, required)| *known == name && *required);
        if matches!(node.kind, Kind::Null) && !required { None } else { reader.read(node) }
    }
}

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn read<T: Written>(&mut self, node: &Node) -> Option<At<T>> {
        T::read(node, self).map(|value| At { value, place: node.place.clone() })
    }

    /// A text with its references replaced.
    pub(super) fn text(&mut self, node: &Node, expected: &str, secrets: Secrets) -> Option<String> {
        match &node.kind {
            Kind::Text(text) => self.interpolate(text, &node.place, secrets),
            // A misplaced number may well be a password.
            Kind::Bool(_) | Kind::Number(_) if secrets == Secrets::Allowed => {
                self.report.error_with_hint(&node.place, format!("expected {expected}"), "put the value in quotes");
                None
            }
            Kind::Bool(_) | Kind::Number(_) => {
                let hint = format!("put it in quotes: `\"{}\"`", describe(node).trim_matches('`'));
                self.unexpected(node, expected, Some(hint))
            }
            _ => self.unexpected(node, expected, None),
        }
    }

    pub(super) fn interpolate(&mut self, text: &str, place: &Place, secrets: Secrets) -> Option<String> {
        match interpolate(text, self.lookup, secrets) {
            Ok(text) => Some(text),
            Err(problems) => {
                problems.into_iter().for_each(|(message, hint)| self.report.push(place, message, hint));
                None
            }
        }
    }

    /// Reports what was expected instead of the value.
    pub(super) fn unexpected<T>(&mut self, node: &Node, expected: &str, hint: Option<String>) -> Option<T> {
        if !matches!(node.kind, Kind::Broken) {
            self.report.push(&node.place, format!("expected {expected}, found {}", describe(node)), hint);
        }
        None
    }

    fn json(&mut self, node: &Node) -> Option<serde_json::Value> {
        use serde_json::Value;
        match &node.kind {
            Kind::Null => Some(Value::Null),
            Kind::Bool(value) => Some(Value::Bool(*value)),
            Kind::Number(number) => Some(Value::Number(number.clone())),
            Kind::Text(text) => self.interpolate(text, &node.place, Secrets::Refused).map(Value::String),
            Kind::List(items) => all(items.iter().map(|item| self.json(item))).map(Value::Array),
            Kind::Map(entries) => {
                let fields =
                    entries.iter().map(|entry| self.json(&entry.value).map(|value| (entry.key.clone(), value)));
                all(fields).map(|fields| Value::Object(fields.into_iter().collect()))
            }
            Kind::Broken => None,
        }
    }
}

/// All or nothing, but every element is looked at.
fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// The value as a message shows it.
pub(super) fn describe(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Bool(value) => format!("`{value}`"),
        Kind::Number(number) => format!("`{number}`"),
        Kind::Text(text) => match resolve_plain(text) {
            Ok(Kind::Text(_)) | Err(()) => format!("`{}`", shorten(text)),
            _ => format!("the text `\"{text}\"`"),
        },
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a mapping".to_owned(),
        Kind::Broken => "something unreadable".to_owned(),
    }
}

// --- lists, mappings, any value ----------------------------------------------------------------------------------------

impl<T: Written, const MIN: usize> Written for List<T, MIN> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let nodes = match &node.kind {
            Kind::List(nodes) => nodes.as_slice(),
            Kind::Null => &[],
            Kind::Map(_) => return reader.unexpected(node, "a list", Some("begin each element with `- `".to_owned())),
            Kind::Text(text) => {
                let hint = format!("write `[\"{}\"]`", shorten(text));
                return reader.unexpected(node, "a list", Some(hint));
            }
            _ => return reader.unexpected(node, "a list", None),
        };
        if nodes.len() < MIN {
            reader.report.error(&node.place, "expected at least one element, found none");
            return None;
        }
        let items: Vec<_> = nodes.iter().filter_map(|node| reader.read(node)).collect();
        Some(Self { complete: items.len() == nodes.len(), items })
    }
}

impl<T: Written> Written for Map<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => return reader.unexpected(node, "a mapping from names to values", None),
        };
        let read = |entry: &super::yaml::Entry| {
            let key = At { value: entry.key.clone(), place: entry.key_place.clone() };
            (key, reader.read(&entry.value))
        };
        Some(Self(entries.iter().map(read).collect()))
    }
}

impl Written for Any {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.json(node).map(Self)
    }
}

// --- JSON Schema -------------------------------------------------------------------------------------------------------

/// The schema of a type that stands for another one.
macro_rules! same_schema {
    ($wrapper:ident) => {
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn schema_id() -> Cow<'static, str> {
                T::schema_id()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    };
}

same_schema!(At);
same_schema!(Required);

impl<T: JsonSchema, const MIN: usize> JsonSchema for List<T, MIN> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "array", "items": generator.subschema_for::<T>() });
        if MIN > 0 {
            schema.insert("minItems".to_owned(), MIN.into());
        }
        schema
    }
}

impl<T: JsonSchema> JsonSchema for Map<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

impl JsonSchema for Any {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "any value" })
    }
}
