//! What `tidemill routes explain` shows.

use super::*;

fn explained(pattern: Value, written: Value) -> Explanation {
    let (event, data) = event(&written);
    compiled(&pattern).explain(&event, data.as_ref())
}

#[test]
fn an_explanation_reads_as_lines() {
    let explanation = explained(
        json!({
            "type": ["OrderShipped", "OrderCreated"],
            "tenant": [{ "prefix": "ac" }],
            "data": {
                "total": [{ "numeric": [">=", 1000] }],
                "ship to": { "country": [{ "anything-but": ["US", "CA"] }] },
                "items": { "sku": ["A"], "qty": [{ "numeric": [">", 1, "<", 9] }] },
                "$or": [{ "gift": [true] }, { "note": [{ "wildcard": "*gift*" }], "coupon": [{ "exists": true }] }],
            },
        }),
        json!({ "data": {
            "total": 900, "items": [{ "sku": "B" }, { "sku": "A", "qty": 1 }], "ship to": { "country": "DE" },
            "note": "a gift", "coupon": null,
        } }),
    );
    let expected = r#"
✗ not admitted
  ✗ tenant is absent
    ✗ prefix "ac"
  ✓ type is "OrderCreated"
    ✗ "OrderShipped"
    ✓ "OrderCreated"
  ✗ data.items[1].qty is 1
    ✗ numeric > 1 and < 9
  ✓ data.items[1].sku is "A"
    ✓ "A"
  ✓ data["ship to"].country is "DE"
    ✓ anything-but "US", "CA"
  ✗ data.total is 900
    ✗ numeric >= 1000
  ✓ data.$or
    ✗ branch 1
      ✗ data.gift is absent
        ✗ true
    ✓ branch 2
      ✓ data.coupon is null
        ✓ exists true
      ✓ data.note is "a gift"
        ✓ wildcard "*gift*""#;
    assert_eq!(explanation.to_string(), expected.trim_start());
}

#[test]
fn an_explanation_is_data_too() {
    let explanation =
        explained(json!({ "$or": [{ "type": ["A"] }, { "data": { "n": [1] } }] }), json!({ "type": "A" }));
    assert_eq!(
        serde_json::to_value(&explanation).expect("serializable"),
        json!({ "admitted": true, "verdicts": [{ "kind": "or", "path": "", "matched": true, "branches": [
            { "admitted": true, "verdicts": [{
                "kind": "field", "path": "type", "seen": "\"A\"", "matched": true,
                "matchers": [{ "operator": "\"A\"", "matched": true }],
            }] },
            { "admitted": false, "verdicts": [{
                "kind": "field", "path": "data.n", "seen": null, "matched": false,
                "matchers": [{ "operator": "1", "matched": false }],
            }] },
        ] }] })
    );
}

#[test]
fn every_operator_has_a_text() {
    for (matcher, text) in [
        (json!(null), "null"),
        (json!({ "suffix": "x" }), "suffix \"x\""),
        (json!({ "equals-ignore-case": "x" }), "equals-ignore-case \"x\""),
        (json!({ "prefix": { "equals-ignore-case": "x" } }), "prefix equals-ignore-case \"x\""),
        (json!({ "suffix": { "equals-ignore-case": "x" } }), "suffix equals-ignore-case \"x\""),
        (json!({ "numeric": ["=", 5] }), "numeric = 5"),
        (json!({ "numeric": ["<", 0.5] }), "numeric < 0.5"),
        (json!({ "cidr": "10.0.0.0/8" }), "cidr 10.0.0.0/8"),
        (json!({ "exists": false }), "exists false"),
        (json!({ "anything-but": { "prefix": ["a", "b"] } }), "anything-but prefix \"a\", prefix \"b\""),
    ] {
        let explanation = explained(json!({ "data": { "x": [matcher] } }), json!({}));
        assert!(explanation.to_string().ends_with(&format!(" {text}")), "{explanation}");
    }
}

#[test]
fn what_was_seen_is_short_and_harmless() {
    let long = format!("\u{9b}31m{}", "ä".repeat(1000));
    let Verdict::Field(field) =
        explained(json!({ "data": { "x": ["y"] } }), json!({ "data": { "x": long } })).verdicts.remove(0)
    else {
        panic!("a field was asked for")
    };
    let seen = field.seen.expect("the field is there");
    assert!(seen.chars().count() == 121 && !seen.contains('\u{9b}'), "{seen}");
}
