//! What somebody probably meant.

/// The operators, as they are written.
pub(super) const OPERATORS: [&str; 8] =
    ["prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "cidr"];

/// The attributes that every CloudEvent may have.
const ATTRIBUTES: [&str; 8] =
    ["id", "source", "type", "time", "subject", "datacontenttype", "dataschema", "specversion"];

/// A hint for an operator that there is not.
pub(super) fn operator(written: &str) -> String {
    let lower = written.to_lowercase().replace(['_', ' '], "-");
    let habit = match lower.as_str() {
        "regex" | "regexp" | "pattern" | "matches" | "like" | "glob" => "`wildcard`, where `*` stands for any text",
        "contains" | "includes" => "`wildcard` with `*` on both sides",
        "equals" | "eq" | "exact" | "exactly" | "is" | "=" | "==" => "the value itself, without an operator",
        "in" | "one-of" | "any-of" => "the values themselves, side by side in the list",
        "not" | "not-in" | "not-equals" | "ne" | "!=" => "`anything-but`",
        "gt" | "gte" | "lt" | "lte" | ">" | ">=" | "<" | "<=" | "between" | "range" => {
            "`numeric`, as in `{ numeric: [\">\", 0, \"<=\", 5] }`"
        }
        "starts-with" | "begins-with" => "`prefix`",
        "ends-with" => "`suffix`",
        "ip" | "ip-address" => "`cidr`",
        "present" | "absent" | "missing" => "`exists`, with `true` or `false`",
        "$or" | "or" => "`$or` beside the fields, over two or more objects",
        _ => match nearest(&lower, OPERATORS) {
            Some(operator) => return format!("did you mean `{operator}`?"),
            None => return format!("the operators are `{}`", OPERATORS.join("`, `")),
        },
    };
    format!("did you mean {habit}?")
}

/// A hint for a top-level name that cannot be an attribute's.
pub(super) fn attribute(written: &str) -> String {
    let lower = written.to_lowercase();
    match lower.as_str() {
        "detail-type" => return "the event's type is `type`".to_owned(),
        "content-type" => return "did you mean `datacontenttype`?".to_owned(),
        _ => {}
    }
    if let Some(field) = lower.strip_prefix("data.").or_else(|| lower.strip_prefix("data/")) {
        return format!("fields of the payload nest: `data: {{ {field}: [..] }}`");
    }
    if let Some(attribute) = nearest(&lower, ATTRIBUTES.into_iter().chain(["data", "$or"])) {
        return format!("did you mean `{attribute}`?");
    }
    "fields of the payload stand under `data`".to_owned()
}

fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(written, known), known))
        // A third of the letters wrong is still a typo; more is another word.
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
