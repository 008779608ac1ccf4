//! What is wrong with a pattern is said at its place, with what to write instead.

use proptest::prelude::*;

use super::*;

fn problems(pattern: Value) -> Vec<String> {
    Filter::compile(&pattern).expect_err("must not compile").iter().map(ToString::to_string).collect()
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (pattern, expected) in [
        (
            json!({}),
            "expected an object of attributes and `data`, found an empty one; leave it out to admit everything",
        ),
        (json!([]), "expected an object of attributes and `data`, found a list"),
        (json!({ "type": "A" }), "/type: expected a list of matchers, found `\"A\"`; write `type: [\"A\"]`"),
        (json!({ "data": 5 }), "/data: expected a list of matchers, found `5`; write `data: [5]`"),
        (json!({ "data": { "a/b~": 5 } }), "/data/a~1b~0: expected a list of matchers, found `5`; write `a/b~: [5]`"),
        (
            json!({ "data": { "x": {} } }),
            "/data/x: expected an object of fields, found an empty one; leave it out to admit everything",
        ),
        (
            json!({ "data": { "x": [] } }),
            "/data/x: an empty list would admit nothing; leave the field out to admit every value; `[\"\"]` admits the empty text",
        ),
        (
            json!({ "data": { "x": [[1]] } }),
            "/data/x/0: expected a value or an operator, found a list; the list is one level deep",
        ),
        // Names.
        (
            json!({ "Type": ["A"] }),
            "/Type: `Type` is not an attribute: their names are lower-case letters and digits; did you mean `type`?",
        ),
        (
            json!({ "detail-type": ["A"] }),
            "/detail-type: `detail-type` is not an attribute: their names are lower-case letters and digits; the event's type is `type`",
        ),
        (
            json!({ "data.total": [1] }),
            "/data.total: `data.total` is not an attribute: their names are lower-case letters and digits; fields of the payload nest: `data: { total: [..] }`",
        ),
        (
            json!({ "detail": { "a": [1] } }),
            "/detail: the attribute `detail` is text, so expected a list of matchers, found an object; fields of the payload stand under `data`",
        ),
        // Attributes are text.
        (
            json!({ "tenant": [5] }),
            "/tenant/0: attributes are text, so `5` is never about one; write it as text: `\"5\"`",
        ),
        (
            json!({ "tenant": [null] }),
            "/tenant/0: attributes are text, so `null` is never about one; an attribute that is not there is `{ exists: false }`",
        ),
        (
            json!({ "tenant": [{ "numeric": [">", 5] }] }),
            "/tenant/0: attributes are text, so `numeric > 5` is never about one; numbers of the payload stand under `data`",
        ),
        // Operators.
        (json!({ "type": [{ "prefx": "A" }] }), "/type/0/prefx: `prefx` is not an operator; did you mean `prefix`?"),
        (
            json!({ "type": [{ "anythingbut": "A" }] }),
            "/type/0/anythingbut: `anythingbut` is not an operator; did you mean `anything-but`?",
        ),
        (
            json!({ "type": [{ "regex": "A" }] }),
            "/type/0/regex: `regex` is not an operator; did you mean `wildcard`, where `*` stands for any text?",
        ),
        (
            json!({ "data": { "x": [{ ">=": 5 }] } }),
            "/data/x/0/>=: `>=` is not an operator; did you mean `numeric`, as in `{ numeric: [\">\", 0, \"<=\", 5] }`?",
        ),
        (
            json!({ "type": [{ "$or": [] }] }),
            "/type/0/$or: `$or` is not an operator; did you mean `$or` beside the fields, over two or more objects?",
        ),
        (
            json!({ "type": [{ "bananas": 1 }] }),
            "/type/0/bananas: `bananas` is not an operator; the operators are `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `exists`, `cidr`",
        ),
        (
            json!({ "type": [{}] }),
            "/type/0: expected one operator, found 0; the matchers of a list are alternatives, each an object of its own",
        ),
        (
            json!({ "type": [{ "prefix": "a", "suffix": "b" }] }),
            "/type/0: expected one operator, found 2; the matchers of a list are alternatives, each an object of its own",
        ),
        (json!({ "type": [{ "prefix": 5 }] }), "/type/0/prefix: `prefix` takes a text, found `5`"),
        (
            json!({ "type": [{ "suffix": ["a", "b"] }] }),
            "/type/0/suffix: `suffix` takes one text, found a list; write one matcher for each: `[{ suffix: .. }, { suffix: .. }]`",
        ),
        (
            json!({ "type": [{ "prefix": { "wildcard": "a" } }] }),
            "/type/0/prefix/wildcard: `prefix` takes a text or `equals-ignore-case`, found `wildcard`",
        ),
        (
            json!({ "type": [{ "wildcard": "a**" }] }),
            "/type/0/wildcard: `a**` has two asterisks in a row; one `*` stands for any text already; an asterisk itself is `\\*`",
        ),
        (
            json!({ "type": [{ "wildcard": "a\\d" }] }),
            "/type/0/wildcard: `a\\d` has a backslash that escapes nothing; only `\\*` and `\\\\` are escapes",
        ),
        (json!({ "type": [{ "exists": "yes" }] }), "/type/0/exists: `exists` takes `true` or `false`, found `\"yes\"`"),
        (
            json!({ "data": { "ip": [{ "cidr": "10.0.0.1" }] } }),
            "/data/ip/0/cidr: `10.0.0.1` is not a range of IP addresses; a single address is `10.0.0.1/32`",
        ),
        (
            json!({ "data": { "ip": [{ "cidr": "::1" }] } }),
            "/data/ip/0/cidr: `::1` is not a range of IP addresses; a single address is `::1/128`",
        ),
        (
            json!({ "data": { "ip": [{ "cidr": "10.0.0.0/33" }] } }),
            "/data/ip/0/cidr: `10.0.0.0/33` is not a range of IP addresses; a range is written as `10.0.0.0/24` or `2001:db8::/32`",
        ),
        (
            json!({ "type": [{ "anything-but": [] }] }),
            "/type/0/anything-but: `anything-but` takes at least one value, found an empty list",
        ),
        (
            json!({ "type": [{ "anything-but": [{ "prefix": "a" }] }] }),
            "/type/0/anything-but/0: a list of `anything-but` holds values, found an object; an operator stands outside: `anything-but: { prefix: [..] }`",
        ),
        (
            json!({ "data": { "x": [{ "anything-but": { "numeric": ["=", 1] } }] } }),
            "/data/x/0/anything-but/numeric: `anything-but` cannot be combined with `numeric`; it takes values, `prefix`, `suffix`, `equals-ignore-case` or `wildcard`",
        ),
        (
            json!({ "type": [{ "anything-but": { "prefix": "" } }] }),
            "/type/0/anything-but/prefix: every text has the empty prefix, so nothing would be admitted",
        ),
        // `$or`.
        (json!({ "$or": { "type": ["A"] } }), "/$or: `$or` takes a list of two or more objects, found an object"),
        (
            json!({ "$or": [{ "type": ["A"] }] }),
            "/$or: `$or` takes two or more objects, found 1; write the fields of a single one without `$or`",
        ),
        (json!({ "data": { "$or": [{ "a": [1] }, 5] } }), "/data/$or/1: expected an object of fields, found `5`"),
        (
            json!({ "data": { "$OR": [{ "a": [1] }, { "b": [1] }] } }),
            "/data/$OR: `$OR` is not a field; did you mean `$or`?",
        ),
        // An operator where its list was forgotten.
        (
            json!({ "data": { "x": { "numeric": [">=", 5] } } }),
            "/data/x/numeric: the operator `numeric` stands in a list of matchers; write `[{ numeric: [\">=\",5] }]`",
        ),
        (
            json!({ "data": { "x": { "exists": true } } }),
            "/data/x/exists: the operator `exists` stands in a list of matchers; write `[{ exists: true }]`",
        ),
        (
            json!({ "data": { "x": { "anything-but": ["a"] } } }),
            "/data/x/anything-but: the operator `anything-but` stands in a list of matchers; write `[{ anything-but: [\"a\"] }]`",
        ),
    ] {
        assert_eq!(problems(pattern.clone()), [expected], "{pattern}");
    }
}

#[test]
fn numeric_has_few_forms() {
    const FORM: &str = "a comparison is `[\"=\", 5]`, `[\">=\", 5]` or `[\">\", 0, \"<=\", 5]`";
    for (numeric, message, hint) in [
        (json!(5), "`numeric` takes a list, found `5`", Some(FORM)),
        (json!([]), "`numeric` takes one or two comparisons, found a list of 0", Some(FORM)),
        (json!([">"]), "`numeric` takes one or two comparisons, found a list of 1", Some(FORM)),
        (json!([">", 1, "<"]), "`numeric` takes one or two comparisons, found a list of 3", Some(FORM)),
        (json!([">", "1"]), "expected a number behind `\">\"`, found `\"1\"`", Some(FORM)),
        (json!(["~", 1]), "expected one of `=`, `>`, `>=`, `<` and `<=`, found `\"~\"`", Some(FORM)),
        (json!(["!=", 1]), "`!=` is not a comparison", Some("write `{ anything-but: 1 }`")),
        (json!(["<", 5, ">", 0]), "a range names its lower end first", Some("write `[\">\", 0, \"<\", 5]`")),
        (json!([">", 0, ">=", 5]), "a range has one lower and one upper end", Some(FORM)),
        (json!(["=", 0, "<", 5]), "a range has one lower and one upper end", Some(FORM)),
        (json!([">", 5, "<", 5]), "no number is > 5 and < 5", None),
        (json!([">=", 6, "<=", 5]), "no number is >= 6 and <= 5", None),
    ] {
        let problems =
            Filter::compile(&json!({ "data": { "x": [{ "numeric": numeric }] } })).expect_err("must not compile");
        let expected = PatternProblem {
            pointer: "/data/x/0/numeric".to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        assert_eq!(problems, [expected]);
    }
}

#[test]
fn all_problems_are_found_at_once() {
    let found = Filter::compile(&json!({
        "Type": ["A"],
        "source": "x",
        "$or": [{ "data": { "a": [] } }],
        "data": { "b": [{ "prefix": 1 }, { "numeric": ["<"] }, "fine"], "c": 7 },
    }))
    .expect_err("must not compile");
    let mut pointers: Vec<_> = found.iter().map(|problem| problem.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["/$or", "/$or/0/data/a", "/Type", "/data/b/0/prefix", "/data/b/1/numeric", "/data/c", "/source"]
    );
}

#[test]
fn fields_may_be_named_as_operators_are() {
    let filter =
        compiled(&json!({ "data": { "name": { "prefix": ["Dr."], "suffix": [{ "exists": false }] }, "cidr": ["x"] } }));
    assert!(admitted(&filter, &json!({ "data": { "name": { "prefix": "Dr." }, "cidr": "x" } })));
}

#[test]
fn a_pattern_nested_without_end_is_a_problem() {
    let nested = (0..1000).fold(json!([1]), |inner, _| json!({ "a": inner }));
    let found = Filter::compile(&json!({ "data": nested })).expect_err("too deep");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "the pattern is nested deeper than 128 levels");
}

proptest! {
    #[test]
    fn no_pattern_makes_the_compiler_panic(pattern in agreement::any_json()) {
        for pattern in [pattern.clone(), json!({ "data": { "x": pattern } })] {
            if let Err(problems) = Filter::compile(&pattern) {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(pattern.pointer(&problem.pointer).is_some(), "{problem}");
                }
            }
        }
    }
}
