use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::cursor::Cursor;
use super::value::{list, typed};
use super::*;
use crate::name::{CollectionName, StreamName};
use crate::read_model::{Collection, FieldPath, Index};

fn orders() -> Collection {
    let index = |fields: &[&str]| Index { fields: fields.iter().map(|it| FieldPath::try_new(it).unwrap()).collect() };
    let indexes = vec![index(&["status"]), index(&["total"]), index(&["customer.id", "created_at"])];
    Collection::new(CollectionName::try_new("orders").unwrap(), indexes)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn parse(text: &str) -> Result<(Query, QueryOptions), QueryError> {
    Query::parse(&pairs(text), &orders())
}

/// Which of the statuses, as documents with nothing else, a filter finds.
fn found(filter: &str, statuses: &[Value]) -> Vec<Value> {
    let (query, _) = parse(filter).unwrap();
    let value = |status: &Value| IndexValue::of((!status.is_array()).then_some(status)).unwrap();
    let wanted = |status: &&Value| {
        let values = [value(status), IndexValue::missing(), IndexValue::missing(), IndexValue::missing()];
        query.conditions.iter().all(|condition| condition.holds(&values))
    };
    statuses.iter().filter(wanted).cloned().collect()
}

#[test]
fn filters_find_values_of_their_own_type() {
    // `[]` stands for a document without the field.
    let statuses = [
        json!([]),
        json!(null),
        json!(true),
        json!(-1),
        json!(2),
        json!(10),
        json!("10"),
        json!("paid"),
        json!("pending"),
    ];
    for (filter, expected) in [
        ("status=paid", json!(["paid"])),
        ("status=10", json!([10])),
        ("status=\"10\"", json!(["10"])),
        ("status=null", json!([null])),
        ("status=true", json!([true])),
        ("status[eq]=2", json!([2])),
        ("status[ne]=paid", json!([[], null, true, -1, 2, 10, "10", "pending"])),
        ("status[in]=paid,2,\"10\"", json!([2, "10", "paid"])),
        ("status[gt]=2", json!([10])),
        ("status[gte]=2", json!([2, 10])),
        ("status[lt]=2", json!([-1])),
        ("status[lte]=2", json!([-1, 2])),
        ("status[gt]=paid", json!(["pending"])),
        ("status[lte]=paid", json!(["10", "paid"])),
        ("status[gte]=0&status[lt]=10", json!([2])),
        ("status[exists]=true", json!([null, true, -1, 2, 10, "10", "paid", "pending"])),
        ("status[exists]=false", json!([[]])),
        ("status[prefix]=p", json!(["paid", "pending"])),
        ("status[prefix]=1", json!(["10"])),
        ("status[prefix]=", json!(["10", "paid", "pending"])),
    ] {
        assert_eq!(Value::from(found(filter, &statuses)), expected, "{filter}");
    }
}

#[test]
fn values_are_what_they_read_as() {
    for (text, value) in [
        ("100", json!(100)),
        ("-1.5e3", json!(-1500.0)),
        ("false", json!(false)),
        ("007", json!("007")),
        (" 7", json!(" 7")),
        ("{}", json!("{}")),
        ("[1]", json!("[1]")),
        ("", json!("")),
        ("it's", json!("it's")),
        ("\"a \\\"b\\\"\"", json!("a \"b\"")),
        ("NaN", json!("NaN")),
    ] {
        assert_eq!(typed("p", text).unwrap(), value, "{text}");
    }
    assert_eq!(list("p", "a,\"b,c\",,3").unwrap(), [json!("a"), json!("b,c"), json!(""), json!(3)]);
    for bad in ["\"a", "\"a\"b", "1e400"] {
        assert!(typed("p", bad).is_err() && list("p", bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_not_understood_is_told() {
    for (text, message) in [
        (
            "color=red",
            "the field `color` of the collection `orders` is not indexed; indexed are: `status`, `total`, `customer.id`, \
             `created_at`. `projections[].collections.orders.indexes: [color]` in runtime.yaml would index it",
        ),
        (
            "total[above]=1",
            "there is no operator `above`: expected one of `eq`, `ne`, `in`, `gt`, `gte`, `lt`, `lte`, `exists`, `prefix`",
        ),
        (
            "total[gt=1",
            "`total[gt` is not a filter: expected `FIELD=VALUE` or `FIELD[OPERATOR]=VALUE` like `status=pending` or `total[gte]=100`",
        ),
        ("total[gt]=true", "`total[gt]=true` is refused: expected a number or a text, which have an order"),
        ("total[gt]=1e999", "`total[gt]=1e999` is refused: expected a number within the range of 64-bit floats"),
        ("status[exists]=1", "`status[exists]=1` is refused: expected `true` or `false`"),
        ("status=a&status=b", "the parameter `status` is given twice; `status[in]=A,B` finds either"),
        ("status=a&status[eq]=b", "the parameter `status[eq]` is given twice; `status[in]=A,B` finds either"),
        ("limit=1&limit=2", "the parameter `limit` is given twice"),
        ("limit=0", "`limit=0` is refused: expected a number from 1 to 500"),
        ("limit=501", "`limit=501` is refused: expected a number from 1 to 500"),
        ("limit=+5", "`limit=+5` is refused: expected a number from 1 to 500"),
        (
            "sort=status,-total",
            "`sort=status,-total` is refused: expected one direction for all fields: `a,b` or `-a,-b`",
        ),
        ("sort=total,total", "`sort=total,total` is refused: expected each field once"),
        ("sort=key,total", "`sort=key,total` is refused: expected nothing after `key`, which no two documents share"),
        ("wait_for=ORDERS", "`wait_for=ORDERS` is refused: expected `STREAM:SEQUENCE` like `ORDERS:123`"),
        ("timeout=5", "`timeout=5` is refused: expected a duration like `500ms` or `2s`"),
        ("stale=yes", "`stale=yes` is refused: expected `allow`, or the parameter left out"),
        ("cursor=x", "the cursor is refused: it is damaged; expected the `next` of a page of the same question"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }
    for bad in ["a b=1", "=1", "a..b=1", "sort=a b", "sort=", "fields=", "fields=a,,b", "stale=", "wait_for=A:-1"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(parse(&format!("status={}", "x".repeat(600))).is_err());
    assert!(parse(&format!("status[in]={}", vec!["x"; 101].join(","))).is_err());
}

#[test]
fn options_are_read() {
    let (query, options) = parse("fields=total,customer.id&wait_for=ORDERS:12&timeout=1500ms&stale=allow").unwrap();
    assert_eq!(query, Query { limit: 21, ..Query::default() });
    assert_eq!(options.fields.iter().map(FieldPath::as_str).collect::<Vec<_>>(), ["total", "customer.id"]);
    assert_eq!(options.wait_for, Some(WaitFor { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 12 }));
    assert_eq!((options.timeout, options.stale), (Some(Duration::from_millis(1500)), true));
    // A field of such a name is still found, with its operator.
    assert!(matches!(parse("sort[eq]=a"), Err(QueryError::NotIndexed { field, .. }) if field == "sort"));
}

#[test]
fn sorting_ends_with_the_key() {
    let sorted = |text: &str| parse(text).map(|(query, _)| (query.sort, query.direction)).unwrap();
    assert_eq!(sorted(""), (vec![], Direction::Ascending));
    assert_eq!(sorted("sort=-key"), (vec![], Direction::Descending));
    assert_eq!(sorted("sort=total"), (vec![1], Direction::Ascending));
    assert_eq!(sorted("sort=-created_at,-key"), (vec![3], Direction::Descending));
    assert_eq!(sorted("sort=customer.id,created_at"), (vec![2, 3], Direction::Ascending));
    // Nothing is sorted by the store, and one document too many shows that there are too many.
    let (query, options) = parse("sort=color&limit=5").unwrap();
    assert_eq!((query.sort, query.limit), (vec![], 1001));
    assert_eq!(options.paging.unindexed.unwrap().fields[0].as_str(), "color");
}

#[test]
fn a_cursor_belongs_to_its_question() {
    let (_, options) = parse("status=paid&sort=total").unwrap();
    let values = vec![IndexValue::of(Some(&json!(12))).unwrap()];
    let cursor = Cursor { copy: 7, question: options.paging.question, values: values.clone(), key: "a/ä".into() };
    let text = cursor.encode();
    let with = |question: &str| parse(&format!("{question}&cursor={text}"));
    let (query, options) = with("sort=total&status=paid&limit=3&fields=total").unwrap();
    assert_eq!((query.after, options.paging.copy), (Some((values, "a/ä".to_owned())), Some(7)));
    for other in ["status=paid", "status=paid&sort=-total", "status=pending&sort=total", "status[ne]=paid&sort=total"] {
        assert!(matches!(with(other), Err(QueryError::BadCursor("it belongs to another question"))), "{other}");
    }
}

proptest! {
    #[test]
    fn cursors_survive_their_way(copy: u64, texts in prop::collection::vec("\\PC{0,20}", 0..4), key in "\\PC{1,40}") {
        let values = texts.iter().map(|text| IndexValue::of(Some(&json!(text))).unwrap()).collect();
        let cursor = Cursor { copy, question: uuid::Uuid::from_u128(copy.into()), values, key };
        prop_assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
    }

    #[test]
    fn no_parameter_makes_it_panic(name in "[a-z\\[\\].,=\"-]{0,12}|cursor|sort|limit|fields|timeout|wait_for", value in "\\PC{0,30}|[A-Za-z0-9_-]{0,60}") {
        let _: Result<_, _> = Query::parse(&[(name, value)], &orders());
    }
}
