//! Each operator by values that it admits and refuses, then how patterns and events nest.

use super::*;

#[test]
fn exact_values() {
    check(json!(["a", ""]), &[json!("a"), json!("")], &[json!("A"), json!("ab"), json!(null), json!(1), json!({})]);
    check(json!([null]), &[json!(null)], &[json!(""), json!("null"), json!(false), json!(0)]);
    check(json!([true]), &[json!(true)], &[json!(false), json!("true"), json!(1)]);
    check(json!([100]), &[json!(100), json!(100.0), json!(1e2)], &[json!("100"), json!(100.5), json!(-100)]);
    check(json!([0.1]), &[json!(0.1)], &[json!(0.2), json!(0)]);
    check(json!([0]), &[json!(0), json!(-0.0)], &[json!(null), json!(false), json!("")]);
}

#[test]
fn integers_beyond_doubles_are_told_apart() {
    check(json!([9007199254740993_u64]), &[json!(9007199254740993_u64)], &[json!(9007199254740992_u64)]);
    check(json!([{ "anything-but": 9007199254740993_u64 }]), &[json!(9007199254740992_u64)], &[]);
    check(json!([u64::MAX, i64::MIN]), &[json!(u64::MAX), json!(i64::MIN)], &[json!(i64::MAX)]);
}

#[test]
fn prefix_and_suffix() {
    check(
        json!([{ "prefix": "us-" }]),
        &[json!("us-east-1"), json!("us-")],
        &[json!("us"), json!("US-east"), json!(5)],
    );
    check(json!([{ "prefix": "" }]), &[json!(""), json!("x")], &[json!(null), json!(1)]);
    check(
        json!([{ "suffix": ".png" }]),
        &[json!("a.png"), json!(".png")],
        &[json!("a.PNG"), json!("png"), json!(null)],
    );
}

#[test]
fn ignoring_case() {
    let alice = [json!("Alice"), json!("ALICE"), json!("alice")];
    check(json!([{ "equals-ignore-case": "alice" }]), &alice, &[json!("alic"), json!("alices"), json!(1)]);
    check(json!([{ "equals-ignore-case": "GRÖSSE" }]), &[json!("größe"), json!("Grösse")], &[json!("grosse")]);
    check(json!([{ "equals-ignore-case": "ὈΔΥΣΣΕΎΣ" }]), &[json!("ὀδυσσεύς")], &[]);
    check(json!([{ "equals-ignore-case": "k" }]), &[json!("\u{212a}")], &[]);
    check(
        json!([{ "prefix": { "equals-ignore-case": "EventB" } }]),
        &[json!("eventbridge"), json!("EVENTB")],
        &[json!("event"), json!("xeventb"), json!(null)],
    );
    check(
        json!([{ "suffix": { "equals-ignore-case": ".PNG" } }]),
        &[json!("a.png"), json!(".PnG")],
        &[json!("png"), json!("a.pngx")],
    );
}

#[test]
fn wildcard() {
    check(
        json!([{ "wildcard": "dir/*.png" }]),
        &[json!("dir/a.png"), json!("dir/.png"), json!("dir/b/c.png")],
        &[json!("dir/a.jpg"), json!("x/dir/a.png"), json!(7)],
    );
    check(json!([{ "wildcard": "*" }]), &[json!(""), json!("x")], &[json!(null)]);
    check(json!([{ "wildcard": "a*a" }]), &[json!("aa"), json!("aba")], &[json!("a")]);
    check(json!([{ "wildcard": "a\\*b*" }]), &[json!("a*b"), json!("a*bc")], &[json!("axb")]);
    check(json!([{ "wildcard": "c:\\\\*" }]), &[json!("c:\\x")], &[json!("c:x")]);
    check(json!([{ "wildcard": "plain" }]), &[json!("plain")], &[json!("plainer")]);
    check(json!([{ "wildcard": "ä*ü*ß" }]), &[json!("äöüß"), json!("äüß")], &[json!("äß")]);
}

#[test]
fn anything_but() {
    check(
        json!([{ "anything-but": "initializing" }]),
        &[json!("running"), json!(""), json!(5), json!(null), json!(true)],
        &[json!("initializing"), json!({ "a": 1 }), json!([])],
    );
    check(json!([{ "anything-but": 123 }]), &[json!(124), json!("123")], &[json!(123), json!(123.0)]);
    check(
        json!([{ "anything-but": ["stopped", "overloaded"] }]),
        &[json!("running")],
        &[json!("stopped"), json!("overloaded")],
    );
    check(json!([{ "anything-but": [100, 200, 300] }]), &[json!(150)], &[json!(100), json!(200.0)]);
    check(json!([{ "anything-but": [null, "", 0] }]), &[json!("x"), json!(1)], &[json!(null), json!(""), json!(0)]);
    check(json!([{ "anything-but": { "prefix": "us-" } }]), &[json!("eu-1"), json!(5)], &[json!("us-1")]);
    check(
        json!([{ "anything-but": { "prefix": ["init", "error"] } }]),
        &[json!("ok")],
        &[json!("init2"), json!("errors")],
    );
    check(json!([{ "anything-but": { "suffix": ".png" } }]), &[json!("a.jpg")], &[json!("a.png")]);
    check(
        json!([{ "anything-but": { "suffix": ["1234", "6789"] } }]),
        &[json!("12345")],
        &[json!("01234"), json!("6789")],
    );
    check(json!([{ "anything-but": { "equals-ignore-case": "stopped" } }]), &[json!("Stop")], &[json!("STOPPED")]);
    check(
        json!([{ "anything-but": { "equals-ignore-case": ["Stopped", "OverLoaded"] } }]),
        &[json!("x")],
        &[json!("stopped"), json!("overloaded")],
    );
    check(json!([{ "anything-but": { "wildcard": "*/lib/*" } }]), &[json!("/bin/x")], &[json!("/usr/lib/x")]);
    check(
        json!([{ "anything-but": { "wildcard": ["*/bin/*.jar", "*/bin/*.class"] } }]),
        &[json!("/bin/a.txt")],
        &[json!("/bin/a.jar"), json!("/x/bin/a.class")],
    );
}

#[test]
fn anything_but_needs_a_value() {
    let filter = compiled(&json!({ "data": { "x": [{ "anything-but": "a" }] } }));
    assert!(!admitted(&filter, &json!({ "data": {} })));
}

#[test]
fn numeric() {
    check(json!([{ "numeric": ["=", 301.8] }]), &[json!(3.018e2)], &[json!(301), json!("301.8")]);
    check(
        json!([{ "numeric": [">", 0, "<=", 5] }]),
        &[json!(0.1), json!(5)],
        &[json!(0), json!(5.01), json!("3"), json!(null)],
    );
    check(
        json!([{ "numeric": [">=", 1000] }]),
        &[json!(1000), json!(1e300), json!(u64::MAX)],
        &[json!(999.99), json!(-1)],
    );
    check(json!([{ "numeric": ["<", -2.5] }]), &[json!(-3), json!(i64::MIN)], &[json!(-2.5), json!(0)]);
    check(json!([{ "numeric": [">=", 5, "<=", 5] }]), &[json!(5)], &[json!(5.1), json!(4.9)]);
}

#[test]
fn exists() {
    check(
        json!([{ "exists": true }]),
        &[json!("x"), json!(null), json!(""), json!(false), json!([]), json!({}), json!({ "y": 1 })],
        &[],
    );
    check(json!([{ "exists": false }]), &[], &[json!("x"), json!(null), json!([]), json!({}), json!({ "y": 1 })]);
    let absent = compiled(&json!({ "data": { "x": [{ "exists": false }, 0] } }));
    for (event, expected) in [
        (json!({ "data": {} }), true),
        (json!({ "data": { "x": 0 } }), true),
        (json!({ "data": { "x": 1 } }), false),
        (json!({ "data": "text" }), true),
        (json!({}), true),
    ] {
        assert_eq!(admitted(&absent, &event), expected, "{event}");
    }
}

#[test]
fn cidr() {
    check(
        json!([{ "cidr": "10.0.0.0/24" }]),
        &[json!("10.0.0.0"), json!("10.0.0.255")],
        &[
            json!("10.0.1.0"),
            json!("10.0.0"),
            json!("010.0.0.1"),
            json!("::1"),
            json!("10.0.0.1/32"),
            json!("host"),
            json!(10),
        ],
    );
    check(
        json!([{ "cidr": "2001:db8::/32" }]),
        &[json!("2001:db8::1"), json!("2001:DB8:ffff::")],
        &[json!("2001:db9::1")],
    );
    check(json!([{ "cidr": "0.0.0.0/0" }]), &[json!("255.255.255.255")], &[json!("::")]);
    check(json!([{ "cidr": "10.1.2.3/8" }]), &[json!("10.9.9.9")], &[json!("11.0.0.1")]);
}

#[test]
fn an_array_in_the_event_needs_one_element_that_matches() {
    check(json!(["a", "b"]), &[json!(["x", "b"]), json!([["a"]])], &[json!(["x"]), json!([]), json!([{ "a": "a" }])]);
    check(json!([{ "anything-but": "a" }]), &[json!(["a", "b"])], &[json!(["a", "a"]), json!([])]);
    check(json!([{ "numeric": [">", 3] }]), &[json!([1, 5]), json!(["x", 4])], &[json!([1, 2])]);
    check(json!([null]), &[json!([1, null])], &[json!([])]);
}

#[test]
fn an_object_in_an_array_must_satisfy_the_whole_nested_pattern() {
    let filter = compiled(&json!({ "data": { "items": { "sku": ["A"], "qty": [{ "numeric": [">", 1] }] } } }));
    for (items, expected) in [
        (json!([{ "sku": "A", "qty": 2 }]), true),
        (json!([{ "sku": "B", "qty": 9 }, { "sku": "A", "qty": 2 }]), true),
        (json!([{ "sku": "A", "qty": 1 }, { "sku": "B", "qty": 9 }]), false),
        (json!([[{ "sku": "A", "qty": 2 }], "x"]), true),
        (json!({ "sku": "A", "qty": 2 }), true),
        (json!({ "sku": ["A", "B"], "qty": [0, 2] }), true),
        (json!([]), false),
        (json!("A"), false),
        (json!(null), false),
    ] {
        assert_eq!(admitted(&filter, &json!({ "data": { "items": items } })), expected, "{items}");
    }
}

#[test]
fn absence_inside_arrays_is_said_of_one_element() {
    let filter = compiled(&json!({ "data": { "items": { "sku": ["A"], "discount": [{ "exists": false }] } } }));
    for (items, expected) in [
        (json!([{ "sku": "A" }, { "sku": "B", "discount": 5 }]), true),
        (json!([{ "sku": "A", "discount": 5 }, { "sku": "B" }]), false),
    ] {
        assert_eq!(admitted(&filter, &json!({ "data": { "items": items } })), expected, "{items}");
    }
    let filter = compiled(&json!({ "data": { "items": { "discount": [{ "exists": false }] } } }));
    for (items, expected) in [
        (json!([]), true),
        (json!("text"), true),
        (json!([1, 2]), true),
        (json!([{ "discount": 1 }, 2]), false),
        (json!([[{ "discount": 1 }], []]), false),
    ] {
        assert_eq!(admitted(&filter, &json!({ "data": { "items": items } })), expected, "{items}");
    }
}

#[test]
fn attributes_are_matched_by_name_extensions_included() {
    let written = json!({
        "id": "e-7", "source": "/shop/eu", "type": "OrderCreated", "subject": "order/7", "tenant": "acme", "traceparent": "00-1",
        "time": "2017-10-02T18:43:48Z", "data": { "type": "x" },
    });
    for (pattern, expected) in [
        (json!({ "type": ["OrderShipped", "OrderCreated"] }), true),
        (json!({ "type": ["x"] }), false),
        (json!({ "source": [{ "prefix": "/shop" }], "id": [{ "wildcard": "e-*" }] }), true),
        (json!({ "time": [{ "prefix": "2017-10-02" }] }), true),
        (json!({ "tenant": [{ "equals-ignore-case": "ACME" }] }), true),
        (json!({ "tenant": [{ "anything-but": ["acme"] }] }), false),
        (json!({ "partitionkey": [{ "exists": false }] }), true),
        (json!({ "partitionkey": [{ "anything-but": "x" }] }), false),
        (json!({ "specversion": ["1.0"] }), true),
        (json!({ "subject": [{ "exists": true }], "dataschema": [{ "exists": false }] }), true),
        (json!({ "datacontenttype": [""] }), false),
    ] {
        assert_eq!(admitted(&compiled(&pattern), &written), expected, "{pattern}");
    }
}

#[test]
fn the_payload_itself_may_be_a_value() {
    for (matchers, data, expected) in [
        (json!(["ping"]), json!("ping"), true),
        (json!([{ "numeric": [">", 1] }]), json!([1, 2]), true),
        (json!([{ "exists": true }]), json!({}), true),
        (json!({ "a": [1] }), json!([{ "a": 2 }, { "a": 1 }]), true),
    ] {
        assert_eq!(admitted(&compiled(&json!({ "data": matchers })), &json!({ "data": data })), expected, "{matchers}");
    }
}

#[test]
fn a_payload_that_is_not_json_has_no_fields() {
    let any = json!({});
    assert!(!admitted(&compiled(&json!({ "data": { "a": [{ "anything-but": 1 }] } })), &any));
    assert!(!admitted(&compiled(&json!({ "data": [{ "exists": true }] })), &any));
    assert!(admitted(&compiled(&json!({ "data": [{ "exists": false }] })), &any));
    assert!(admitted(&compiled(&json!({ "type": ["OrderCreated"] })), &any));
}

#[test]
fn or() {
    let top =
        json!({ "source": ["/shop"], "$or": [{ "type": ["A"] }, { "data": { "n": [{ "numeric": [">", 9] }] } }] });
    let inner = json!({ "data": { "k": [1], "$or": [{ "c": [{ "numeric": [">", 0, "<=", 5] }] }, { "d": [{ "numeric": ["<", 10] }] }] } });
    let nested = json!({ "$or": [
        { "type": ["M"] },
        { "type": ["T"], "subject": ["S"], "$or": [{ "data": { "m": [1234] } }, { "data": { "s": [1000] } }] },
    ] });
    let in_array = json!({ "data": { "items": { "$or": [{ "sku": ["A"] }, { "sku": ["B"] }], "qty": [2] } } });
    for (pattern, written, expected) in [
        (&top, json!({ "type": "A" }), true),
        (&top, json!({ "type": "B", "data": { "n": 10 } }), true),
        (&top, json!({ "type": "B", "data": { "n": 9 } }), false),
        (&top, json!({ "type": "A", "source": "x" }), false),
        (&inner, json!({ "data": { "k": 1, "c": 5 } }), true),
        (&inner, json!({ "data": { "k": 1, "c": 6, "d": 9 } }), true),
        (&inner, json!({ "data": { "k": 1, "c": 6 } }), false),
        (&inner, json!({ "data": { "k": 2, "c": 5 } }), false),
        (&nested, json!({ "type": "M" }), true),
        (&nested, json!({ "type": "T", "subject": "S", "data": { "s": 1000 } }), true),
        (&nested, json!({ "type": "T", "subject": "S", "data": { "s": 1 } }), false),
        (&nested, json!({ "type": "T", "data": { "m": 1234 } }), false),
        (&in_array, json!({ "data": { "items": [{ "sku": "B", "qty": 2 }] } }), true),
        (&in_array, json!({ "data": { "items": [{ "sku": "B", "qty": 1 }, { "sku": "C", "qty": 2 }] } }), false),
    ] {
        assert_eq!(admitted(&compiled(pattern), &written), expected, "{pattern} {written}");
    }
}

/// The examples of the EventBridge user guide and of event-ruler's README, with `detail` as `data`.
#[test]
fn the_examples_of_eventbridge() {
    let ec2 = json!({
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718", "type": "EC2 Instance State-change Notification", "source": "aws.ec2",
        "account": "111122223333", "time": "2017-12-22T18:43:48Z", "region": "us-west-1",
        "data": { "instance-id": "i-1234567890abcdef0", "state": "terminated", "resources": ["arn:a", "arn:b"] },
    });
    let complex = json!({
        "time": [{ "prefix": "2017-10-02" }],
        "data": {
            "state": [{ "anything-but": "initializing" }],
            "c-count": [{ "numeric": [">", 0, "<=", 5] }],
            "d-count": [{ "numeric": ["<", 10] }],
            "x-limit": [{ "anything-but": [100, 200, 300] }],
            "source-ip": [{ "cidr": "10.0.0.0/8" }],
        },
    });
    let counted = |state: &str, count: f64| {
        json!({ "time": "2017-10-02T18:43:48Z", "data": {
            "state": state, "c-count": count, "d-count": 8, "x-limit": 301.8, "source-ip": "10.0.0.33",
        } })
    };
    let empty = json!({ "data": { "eventVersion": "", "responseElements": null } });
    for (pattern, written, expected) in [
        (
            json!({ "source": ["aws.ec2"], "type": ["EC2 Instance State-change Notification"], "data": { "state": ["terminated"] } }),
            &ec2,
            true,
        ),
        (json!({ "region": [{ "prefix": "us-" }] }), &ec2, true),
        (json!({ "data": { "state": ["running", "stopped"] } }), &ec2, false),
        (json!({ "data": { "resources": ["arn:b", "arn:c"] } }), &ec2, true),
        (json!({ "data": { "c-count": [{ "exists": false }] } }), &ec2, true),
        (json!({ "data": { "state": [{ "exists": true }] } }), &ec2, true),
        (json!({ "data": { "state": [{ "prefix": "t" }, { "anything-but": { "suffix": "ed" } }] } }), &ec2, true),
        (complex.clone(), &counted("running", 5.0), true),
        (complex.clone(), &counted("initializing", 5.0), false),
        (complex, &counted("running", 5.5), false),
        (json!({ "data": { "eventVersion": [""] } }), &empty, true),
        (json!({ "data": { "responseElements": [null] } }), &empty, true),
        (json!({ "data": { "responseElements": [""] } }), &empty, false),
    ] {
        assert_eq!(admitted(&compiled(&pattern), written), expected, "{pattern}");
    }
}
