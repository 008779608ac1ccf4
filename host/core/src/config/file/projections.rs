//! `read_models` and `projections`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::super::leaf::{Count, OneOf, Span, Text};
use super::super::read::{List, Map, Optional, Reader, Required, Written, record};
use super::super::yaml::{Kind, Node};
use super::super::{OnFailure, RebuildWhen, Secret};
use super::{DeadLetter, Pattern, Retry, Timeout};
use crate::name::{PluginName, ProjectionName, StreamName};
use crate::read_model::FieldPath;
use crate::subject::SubjectPattern;

record! {
    /// One of `sqlite` and `postgres`.
    #[schemars(extend("maxProperties" = 1))]
    ReadModels {
        /// Files beside the host, for one host.
        sqlite: Optional<Sqlite>,
        /// PostgreSQL 15 or newer, for more than one host: one of them writes a projection, another takes over when it is gone.
        postgres: Optional<Postgres>,
    }
}

record! {
    /// Read models in files.
    Sqlite {
        /// The folder that holds them.
        #[schemars(extend("default" = "./.tidemill/read-models"), example = &"/var/lib/tidemill/read-models")]
        dir: Optional<Text>,
    }
}

record! {
    /// Read models in PostgreSQL.
    Postgres {
        /// Where it is, as `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.
        #[schemars(example = &"${secret:postgres.url}")]
        url: Required<Secret>,
        /// The database schema that holds everything; it is created.
        #[schemars(extend("default" = "tidemill"), example = &"orders_read")]
        schema: Optional<Text>,
        /// After a host has been silent for so long, another may take over its projections.
        #[schemars(extend("default" = "10s"), example = &"30s")]
        lease: Optional<Span<1000>>,
    }
}

record! {
    /// A projection: events of streams that a plugin folds into collections of documents.
    Projection {
        /// The projection's name: lower-case letters, digits and `-`. It is also the name of its place in the store, so a renamed
        /// projection begins anew. No route may have the same.
        #[schemars(example = &"orders")]
        name: Required<ProjectionName>,
        /// The streams that are folded, each from its beginning and in strict order. Between streams there is no order.
        #[schemars(example = json!([{ "stream": "ORDERS" }]))]
        sources: Required<List<ProjectionSource, 1>>,
        /// Which events are folded, in EventBridge's pattern language. The others are skipped. Left out: all.
        #[schemars(example = json!({ "type": ["OrderCreated"] }))]
        filter: Optional<Pattern>,
        /// The plugin: the name of its file in the plugins folder without `.wasm`.
        #[schemars(example = &"order-view")]
        plugin: Required<PluginName>,
        /// The collections that the plugin writes, by name. No other projection may have one of the same name.
        #[schemars(example = json!({ "orders": { "indexes": ["status"] } }))]
        collections: Required<Map<Collection>>,
        /// Events that become durable together, at most.
        #[schemars(extend("default" = 500), example = 100)]
        batch: Optional<Count<1, 10_000>>,
        /// The wall time of one call.
        #[schemars(extend("default" = "5s"), example = &"500ms")]
        timeout: Optional<Timeout>,
        /// The name of a policy of `retry_policies`, or a policy in place. While an event is tried again, the projection waits.
        #[schemars(extend("default" = "standard"), example = json!({ "max_attempts": 3 }))]
        retry: Optional<Retry>,
        /// What happens to an event that cannot be folded: `dead_letter` (it is kept there, the projection goes on and is marked as
        /// degraded) or `halt` (the projection waits for a person).
        #[schemars(extend("default" = "dead_letter"), example = &"halt")]
        on_failure: Optional<OneOf<OnFailure>>,
        /// Where events go that cannot be folded.
        dead_letter: Optional<DeadLetter>,
        /// When a new copy is filled from the beginning: `manual` (`tidemill projection rebuild`), or `on_change`, whenever the plugin
        /// has another build. The copy that there is serves meanwhile.
        #[schemars(extend("default" = "manual"), example = &"on_change")]
        rebuild: Optional<OneOf<RebuildWhen>>,
        /// How long the copy that a rebuild replaced is kept for `tidemill projection rollback`.
        #[schemars(extend("default" = "1d"), example = &"7d")]
        retain: Optional<Span<0>>,
    }
}

record! {
    /// One stream of a projection.
    ProjectionSource {
        /// A stream of `streams`.
        #[schemars(example = &"ORDERS")]
        stream: Required<StreamName>,
        /// The part of the stream's subjects that is folded. Left out: all of them.
        #[schemars(example = ["orders.created"])]
        subjects: Optional<List<SubjectPattern, 1>>,
    }
}

record! {
    /// A collection of documents.
    Collection {
        /// Fields by which documents can be found and sorted: `status`, `address.city`; or several together, to find by the first
        /// and sort by the last: `[customer_id, created_at]`. A change makes the next start rebuild the projection.
        #[schemars(example = json!(["status", ["customer_id", "created_at"]]))]
        indexes: Optional<List<Index>>,
    }
}

/// One entry of `indexes`: a field, or several.
#[derive(Debug)]
pub(in crate::config) struct Index(pub(in crate::config) Vec<FieldPath>);

impl Written for Index {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => {
                let list = reader.read::<List<FieldPath, 1>>(node)?.value;
                list.complete.then(|| Self(list.items.into_iter().map(|field| field.value).collect()))
            }
            _ => reader.read::<FieldPath>(node).map(|field| Self(vec![field.value])),
        }
    }
}

impl JsonSchema for Index {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Index".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let field = generator.subschema_for::<FieldPath>();
        json_schema!({
            "title": "a field or a list of fields",
            "anyOf": [field, { "type": "array", "minItems": 1, "items": field }],
        })
    }
}
