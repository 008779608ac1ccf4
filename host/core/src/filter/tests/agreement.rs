//! `admits` and `explain` are two walks over one tree; here they are held together.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn what_is_explained_is_what_is_admitted(pattern in any_pattern(), data in proptest::option::of(any_data())) {
        let filter = compiled(&pattern);
        let (event, _) = event(&json!({ "type": "a", "subject": "b" }));
        let explanation = filter.explain(&event, data.as_ref());
        prop_assert_eq!(explanation.admitted, filter.admits(&event, data.as_ref()), "{}\n{}", pattern, explanation);
        let all_hold = explanation.verdicts.iter().all(Verdict::matched);
        prop_assert_eq!(explanation.admitted, all_hold);
    }
}

fn name() -> impl Strategy<Value = String> {
    "[abc]"
}

/// Events whose few names and values often meet those of the patterns.
fn any_data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ab]{0,2}".prop_map(Value::from),
        (0..4_i64).prop_map(Value::from),
        Just(json!(1.5)),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn any_matchers() -> impl Strategy<Value = Value> {
    let matcher = prop_oneof![
        "[ab]{0,2}".prop_map(Value::from),
        (0..4_i64).prop_map(Value::from),
        Just(Value::Null),
        "[ab]".prop_map(|text| json!({ "prefix": text })),
        "[AB]".prop_map(|text| json!({ "suffix": { "equals-ignore-case": text } })),
        Just(json!({ "wildcard": "a*" })),
        Just(json!({ "numeric": [">", 0, "<=", 2] })),
        any::<bool>().prop_map(|wanted| json!({ "exists": wanted })),
        Just(json!({ "anything-but": ["a", 1] })),
        Just(json!({ "anything-but": { "prefix": ["a"] } })),
    ];
    proptest::collection::vec(matcher, 1..3).prop_map(Value::from)
}

fn any_object_pattern() -> impl Strategy<Value = Value> {
    any_matchers().prop_recursive(3, 16, 3, |inner| {
        let fields = || proptest::collection::btree_map(name(), inner.clone(), 1..3);
        let object = fields().prop_map(|fields| fields.into_iter().collect::<Value>());
        let or = (fields(), fields(), fields()).prop_map(|(mut all, left, right)| {
            let branch = |fields: std::collections::BTreeMap<_, _>| fields.into_iter().collect::<Value>();
            all.insert("$or".to_owned(), json!([branch(left), branch(right)]));
            branch(all)
        });
        prop_oneof![object, or]
    })
}

fn any_pattern() -> impl Strategy<Value = Value> {
    (any_object_pattern(), any_object_pattern(), "[ab]").prop_map(|(data, other, text)| {
        json!({ "data": data, "$or": [{ "type": [text] }, { "data": other, "subject": [{ "prefix": "b" }] }] })
    })
}

/// Any JSON whose names are often operators.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let name = || {
        prop_oneof![
            proptest::sample::select(&crate::filter::suggest::OPERATORS[..]).prop_map(str::to_owned),
            Just("$or".to_owned()),
            Just("data".to_owned()),
            "[a/~*\\\\]{0,3}",
        ]
    };
    let leaf = prop_oneof![
        Just(json!(">")),
        Just(json!("<=")),
        "[a*\\\\./0-9]{0,5}".prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 32, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(name(), inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}
