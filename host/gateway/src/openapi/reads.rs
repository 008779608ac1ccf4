//! The part about what is read.

use serde_json::{Map, Value, json};
use tidemill_core::read_model::Collection;

use super::{EVERYWHERE, responses};
use crate::runtime::Catalogue;

const READ: [(&str, &str); 4] = [
    ("404", "There is no such collection, projection or document."),
    ("500", "The plugin or the store failed."),
    ("503", "The store is unavailable, or nothing answers yet."),
    ("504", "Not that far yet, or too slow."),
];

/// A text in quotes.
const QUOTED: &str = r#""([^"\\\u0000-\u001f]|\\["\\/bfnrt])*""#;

const FIELD: &str = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,30}(\.[A-Za-z0-9_-]{1,30}){0,2}";

pub(super) fn paths(paths: &mut Map<String, Value>, catalogue: &Catalogue) {
    for projection in &catalogue.projections {
        let streams: Vec<&str> = projection.sources.iter().map(|source| source.stream.as_str()).collect();
        for collection in projection.collections.iter() {
            let name = &collection.name;
            paths.insert(format!("/v1/read-models/{name}"), json!({ "get": documents(collection, &streams) }));
            paths.insert(format!("/v1/read-models/{name}/{{key}}"), json!({ "get": document(collection, &streams) }));
        }
        let name = &projection.name;
        paths.insert(format!("/v1/queries/{name}/{{name}}"), json!({ "get": question(name.as_str(), &streams) }));
    }
}

fn documents(collection: &Collection, streams: &[&str]) -> Value {
    let name = &collection.name;
    let mut parameters: Vec<Value> = collection.fields().iter().flat_map(|field| filters(field.as_str())).collect();
    let sort = format!("^({FIELD}(,{FIELD}){{0,1}}|-{FIELD}(,-{FIELD}){{0,1}})$");
    parameters.extend([
        parameter(
            "sort",
            "Fields that are sorted by, all up or all down (`-`). The key comes last.",
            json!({
                "type": "string", "pattern": sort,
            }),
        ),
        parameter(
            "limit",
            "Documents of a page.",
            json!({ "type": "integer", "minimum": 1, "maximum": 500, "default": 20 }),
        ),
        parameter("cursor", "The `next` of the page before.", json!({ "type": "string" })),
    ]);
    parameters.extend(common(streams));
    let mut problems: Vec<_> = EVERYWHERE.iter().chain(&READ).copied().collect();
    problems.push(("410", "The cursor belongs to another copy of the read model."));
    json!({
        "operationId": format!("list_{name}"),
        "summary": format!("Documents of `{name}` (scope `read`)"),
        "parameters": parameters,
        "responses": responses(json!({ "200": {
            "description": "A page.", "headers": position(),
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Page" } } },
        }}), &problems),
    })
}

fn document(collection: &Collection, streams: &[&str]) -> Value {
    let name = &collection.name;
    let mut parameters =
        vec![json!({ "name": "key", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })];
    parameters.extend(common(streams));
    let problems: Vec<_> = EVERYWHERE.iter().chain(&READ).copied().collect();
    let mut headers = position();
    headers["ETag"] = json!({ "required": true, "schema": { "type": "string" } });
    json!({
        "operationId": format!("get_{name}"),
        "summary": format!("A document of `{name}` (scope `read`)"),
        "parameters": parameters,
        "responses": responses(json!({
            "200": {
                "description": "The document.", "headers": headers.clone(),
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Item" } } },
            },
            "304": { "description": "As `If-None-Match` has it.", "headers": headers },
        }), &problems),
    })
}

fn question(projection: &str, streams: &[&str]) -> Value {
    let mut parameters =
        vec![json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })];
    parameters.extend(common(streams).into_iter().filter(|one| one["name"] != "fields"));
    let mut problems: Vec<_> = EVERYWHERE.iter().chain(&READ).copied().collect();
    problems.push(("422", "The plugin refuses the question."));
    json!({
        "operationId": format!("ask_{projection}"),
        "summary": format!("Ask the plugin of `{projection}` (scope `read`)"),
        "description": "All other parameters are passed to the plugin as a JSON object.",
        "parameters": parameters,
        "responses": responses(json!({ "200": {
            "description": "What the plugin answers.", "headers": position(),
            "content": { "application/json": {}, "application/octet-stream": {} },
        }}), &problems),
    })
}

fn filters(field: &str) -> Vec<Value> {
    let text = |pattern: String| json!({ "type": "string", "pattern": pattern });
    let value = || text(format!(r#"^([^"][\s\S]*|{QUOTED})?$"#));
    // Nothing that reads as a value without an order.
    let ordered = || text(format!(r#"^(?!(true|false|null)$)([^"][\s\S]*|{QUOTED})?$"#));
    let one = format!(r#"([^",][^,]*|{QUOTED})?"#);
    let filter = |operator: &str, description: &str, schema: Value| {
        let name = if operator == "eq" { field.to_owned() } else { format!("{field}[{operator}]") };
        parameter(&name, description, schema)
    };
    vec![
        filter("eq", "Equal to. A number, `true`, `false`, `null`, else a text; in quotes always a text.", value()),
        filter("ne", "Anything else.", value()),
        filter("in", "One of several, separated by commas.", text(format!("^{one}(,{one})*$"))),
        filter("gt", "Above a number or a text.", ordered()),
        filter("gte", "At least.", ordered()),
        filter("lt", "Below.", ordered()),
        filter("lte", "At most.", ordered()),
        filter("exists", "Whether the field is there.", json!({ "enum": ["true", "false"] })),
        filter("prefix", "Texts that begin with this.", value()),
    ]
}

/// What every question may say.
fn common(streams: &[&str]) -> Vec<Value> {
    let fields = format!("^{FIELD}(,{FIELD}){{0,3}}$");
    let wait = format!("^({}):[0-9]{{1,15}}$", streams.join("|"));
    vec![
        parameter("fields", "Members of a document that are given.", json!({ "type": "string", "pattern": fields })),
        parameter(
            "wait_for",
            "The answer holds what is stored up to here.",
            json!({ "type": "string", "pattern": wait }),
        ),
        parameter(
            "timeout",
            "How long the answer may take.",
            json!({ "type": "string", "pattern": "^[0-9]{1,9}(ms|s|m)$" }),
        ),
        parameter("stale", "Whether an older answer is taken instead of none.", json!({ "const": "allow" })),
    ]
}

fn parameter(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

fn position() -> Value {
    json!({ "Tidemill-Position": {
        "required": true, "schema": { "type": "string" },
        "description": "Where the copy stood, like `ORDERS=123, CUSTOMERS=45`.",
    }})
}
