//! Read models and questions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::read_model::StoreError;

use crate::client::get;
use crate::host::stream;
use crate::rig::Running;

/// Orders `o-00` to `o-<count>`: every third is paid, totals repeat.
async fn shop(count: usize) -> Running {
    let gateway = Running::start().await;
    for n in 0..count {
        let status = if n % 3 == 0 { "paid" } else { "pending" };
        let document = json!({
            "status": status, "total": n % 5, "created_at": format!("2026-01-{n:02}"), "customer_id": format!("c-{}", n % 2),
            "note": (n % 4).to_string(), "address": { "city": "Kiel", "zip": 24103 },
        });
        gateway.host.put("orders", &format!("o-{n:02}"), &document);
    }
    gateway.host.fold_to(count as u64);
    gateway
}

async fn keys(gateway: &Running, query: &str) -> Vec<String> {
    let answer = gateway.ask(get(&format!("/v1/read-models/orders?{query}"))).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_document_is_given_with_its_position_and_its_tag() {
    let gateway = shop(3).await;
    let answer = gateway.ask(get("/v1/read-models/orders/o-01?fields=total,address.city,nothing")).await;
    assert_eq!(answer.json(), json!({ "key": "o-01", "document": { "total": 1, "address": { "city": "Kiel" } } }));
    assert_eq!(answer.header("tidemill-position"), Some("CUSTOMERS=3, ORDERS=3"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let whole = gateway.ask(get("/v1/read-models/orders/o-01")).await;
    let tag = whole.header("etag").unwrap();
    assert_ne!(Some(tag), answer.header("etag"));
    let again = gateway.ask(get("/v1/read-models/orders/o-01").with("if-none-match", &format!("\"x\", W/{tag}"))).await;
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
    gateway.host.put("orders", "o-01", &json!({ "status": "shipped" }));
    let changed = gateway.ask(get("/v1/read-models/orders/o-01").with("if-none-match", tag)).await;
    assert_eq!((changed.status, &changed.json()["document"]), (200, &json!({ "status": "shipped" })));
    let head = gateway.ask(get("/v1/read-models/orders/o-01").method("HEAD")).await;
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, changed.header("etag")));
}

#[tokio::test]
async fn what_is_not_there_is_told_with_the_position() {
    let gateway = shop(1).await;
    let answer = gateway.ask(get("/v1/read-models/orders/o-99")).await;
    assert_eq!(answer.problem(), (404, "no-document".into()));
    assert_eq!(answer.header("tidemill-position"), Some("CUSTOMERS=1, ORDERS=1"));
    for key in ["%00", "a%0ab"] {
        let answer = gateway.ask(get(&format!("/v1/read-models/orders/{key}"))).await;
        assert_eq!(answer.problem(), (404, "no-document".into()));
    }
    for target in ["/v1/read-models/nothing", "/v1/read-models/nothing/x"] {
        let answer = gateway.ask(get(target)).await;
        assert_eq!(answer.problem(), (404, "no-collection".into()));
        assert!(answer.detail().contains("`projections[].collections` in runtime.yaml"), "{}", answer.detail());
    }
}

#[tokio::test]
async fn documents_are_filtered_sorted_and_cut() {
    let gateway = shop(12).await;
    assert_eq!(keys(&gateway, "status=paid").await, ["o-00", "o-03", "o-06", "o-09"]);
    assert_eq!(keys(&gateway, "status=paid&total%5Bgte%5D=3").await, ["o-03", "o-09"]);
    assert_eq!(keys(&gateway, "status[in]=paid,shipped&sort=-total&limit=2").await, ["o-09", "o-03"]);
    assert_eq!(keys(&gateway, "customer_id=c-1&sort=-created_at&limit=2").await, ["o-11", "o-09"]);
    assert_eq!(keys(&gateway, "sort=-key&limit=1").await, ["o-11"]);
    assert_eq!(keys(&gateway, "created_at[prefix]=2026-01-1").await, ["o-10", "o-11"]);
    let answer = gateway.ask(get("/v1/read-models/orders?limit=1&fields=status")).await.json();
    assert_eq!(answer["items"], json!([{ "key": "o-00", "document": { "status": "paid" } }]));
    assert_eq!(answer["positions"], json!({ "ORDERS": 12, "CUSTOMERS": 12 }));
}

#[tokio::test]
async fn following_the_cursor_visits_every_document_once() {
    let gateway = shop(47).await;
    // By an index with many ties, both ways; by key alone; by a field without an index.
    for order in ["sort=total", "sort=-total", "sort=status,total", "", "sort=-key", "sort=note", "sort=-note"] {
        let expected = keys(&gateway, &format!("{order}&limit=500")).await;
        assert_eq!(expected.len(), 47);
        let (mut visited, mut next) = (Vec::new(), String::new());
        loop {
            let target = format!("/v1/read-models/orders?{order}&limit=10{next}");
            let page = gateway.ask(get(&target)).await.json();
            visited.extend(page["items"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(visited, expected, "{order}");
    }
}

#[tokio::test]
async fn a_page_of_large_documents_ends_early_and_goes_on() {
    let gateway = Running::start().await;
    let text = "x".repeat(1024 * 1024);
    for n in 0..7 {
        gateway.host.put("orders", &format!("o-{n}"), &json!({ "text": text, "total": n }));
    }
    for order in ["sort=total", "sort=note"] {
        let page = gateway.ask(get(&format!("/v1/read-models/orders?{order}"))).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), 3);
        let cursor = page["next"].as_str().unwrap();
        assert_eq!(keys(&gateway, &format!("{order}&cursor={cursor}")).await, ["o-3", "o-4", "o-5"]);
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_document_stood_though_it_is_gone() {
    let gateway = shop(10).await;
    let page = gateway.ask(get("/v1/read-models/orders?sort=total&limit=4")).await.json();
    let last = page["items"][3]["key"].as_str().unwrap();
    gateway.host.remove("orders", last);
    let cursor = page["next"].as_str().unwrap();
    let all = keys(&gateway, "sort=total&limit=100").await;
    assert_eq!(keys(&gateway, &format!("sort=total&limit=100&cursor={cursor}")).await, all[3..]);
}

#[tokio::test]
async fn a_cursor_of_an_older_copy_or_another_question_is_refused() {
    let gateway = shop(30).await;
    let page = gateway.ask(get("/v1/read-models/orders?status=pending&limit=5")).await.json();
    let cursor = page["next"].as_str().unwrap();
    let with = |query: &str| get(&format!("/v1/read-models/orders?{query}&cursor={cursor}"));
    assert_eq!(gateway.ask(with("status=paid")).await.problem(), (400, "bad-query".into()));
    assert_eq!(gateway.ask(with("status=pending")).await.status, 200);
    *gateway.host.copies.lock().unwrap() = VecDeque::from([2]);
    let answer = gateway.ask(with("status=pending")).await;
    assert_eq!(answer.problem(), (410, "cursor-expired".into()));
    assert!(answer.detail().contains("begin again without `cursor`"));
}

#[tokio::test]
async fn a_question_that_is_not_understood_says_what_is() {
    let gateway = shop(1).await;
    for (query, part) in [
        ("color=red", "indexes: [color]` in runtime.yaml would index it"),
        ("total[about]=1", "expected one of `eq`, `ne`, `in`"),
        ("limit=1000", "expected a number from 1 to 500"),
        ("cursor=abc", "the cursor is refused"),
        ("status=%ff", "not UTF-8"),
        ("wait_for=CUSTOMERS:1", "the projection `orders` folds `ORDERS`, not `CUSTOMERS`"),
    ] {
        let answer = gateway.ask(get(&format!("/v1/read-models/orders?{query}"))).await;
        assert_eq!(answer.problem(), (400, "bad-query".into()), "{query}");
        assert!(answer.detail().contains(part), "{query}: {}", answer.detail());
    }
    let answer = gateway.ask(get("/v1/read-models/orders/o-00?limit=1")).await;
    assert_eq!(answer.problem(), (400, "bad-query".into()));
}

#[tokio::test]
async fn an_unindexed_sort_over_many_documents_is_refused_with_advice() {
    let gateway = shop(1000).await;
    assert_eq!(keys(&gateway, "sort=-note&limit=1").await.len(), 1);
    gateway.host.put("orders", "one-more", &json!({ "status": "pending" }));
    let answer = gateway.ask(get("/v1/read-models/orders?sort=-note")).await;
    assert_eq!(answer.problem(), (400, "unindexed-sort".into()));
    assert!(answer.detail().contains("projections[].collections.orders.indexes: [note]"), "{}", answer.detail());
    assert_eq!(keys(&gateway, "sort=-note&status=paid&limit=1").await.len(), 1);
    assert_eq!(keys(&gateway, "sort=-total&limit=1").await.len(), 1);
}

#[tokio::test]
async fn wait_for_answers_once_the_read_model_is_there() {
    let gateway = shop(5).await;
    let (ask, address) = (get("/v1/read-models/orders/o-late?wait_for=ORDERS:6&timeout=5s"), gateway.address);
    let waiting = tokio::spawn(async move { ask.to(address).await });
    gateway.host.put("orders", "o-late", &json!({ "status": "pending" }));
    gateway.host.fold_to(6);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.header("tidemill-position")), (200, Some("CUSTOMERS=6, ORDERS=6")));
    // What is there already is not waited for.
    assert_eq!(gateway.ask(get("/v1/read-models/orders?wait_for=ORDERS:1")).await.status, 200);
}

#[tokio::test]
async fn wait_for_is_not_answered_by_another_copy_that_is_behind() {
    let gateway = shop(5).await;
    let behind = BTreeMap::from([(stream("ORDERS"), 2)]);
    for target in ["/v1/read-models/orders/o-01", "/v1/read-models/orders", "/v1/queries/orders/echo"] {
        // The wait ends well, and a rollback comes between it and the answer.
        gateway.host.fold_to(5);
        gateway.host.store.stand_at(behind.clone());
        let answer = gateway.ask(get(&format!("{target}?wait_for=ORDERS:5&timeout=50ms"))).await;
        assert_eq!(answer.problem(), (504, "not-fresh".into()), "{target}");
        assert_eq!(answer.header("tidemill-position"), Some("ORDERS=2"));
        let stale = gateway.ask(get(&format!("{target}?wait_for=ORDERS:5&timeout=50ms&stale=allow"))).await;
        assert_eq!((stale.status, stale.header("tidemill-position")), (200, Some("ORDERS=2")));
        // Unless the copy gets there in time.
        let (ask, address) = (get(&format!("{target}?wait_for=ORDERS:5&timeout=5s")), gateway.address);
        let waiting = tokio::spawn(async move { ask.to(address).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        gateway.host.fold_to(5);
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status, answer.header("tidemill-position")), (200, Some("CUSTOMERS=5, ORDERS=5")));
    }
}

#[tokio::test]
async fn wait_for_in_vain_is_a_timeout_or_an_older_answer_where_that_is_allowed() {
    let gateway = shop(5).await;
    for target in ["/v1/read-models/orders/o-01", "/v1/read-models/orders", "/v1/queries/orders/echo"] {
        let late = format!("{target}?wait_for=ORDERS:99&timeout=20ms");
        let answer = gateway.ask(get(&late)).await;
        assert_eq!(answer.problem(), (504, "not-fresh".into()), "{target}");
        assert_eq!(answer.header("tidemill-position"), Some("CUSTOMERS=5, ORDERS=5"));
        assert!(answer.detail().contains("stands at ORDERS:5, before ORDERS:99"), "{}", answer.detail());
        let stale = gateway.ask(get(&format!("{late}&stale=allow"))).await;
        assert_eq!((stale.status, stale.header("tidemill-position")), (200, Some("CUSTOMERS=5, ORDERS=5")));
    }
}

#[tokio::test]
async fn no_client_makes_the_gateway_wait_longer_than_the_configuration_allows() {
    let gateway = Running::with("  limits: { query_timeout: 50ms }\n").await;
    let begun = std::time::Instant::now();
    let answer = gateway.ask(get("/v1/read-models/orders?wait_for=ORDERS:99&timeout=1000m")).await;
    assert_eq!(answer.problem(), (504, "not-fresh".into()));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_copy_that_is_replaced_while_it_is_chosen_costs_nobody_an_answer() {
    let gateway = shop(3).await;
    gateway.host.store.drop_copies_below(2);
    for target in ["/v1/read-models/orders?limit=1", "/v1/read-models/orders/o-01"] {
        *gateway.host.copies.lock().unwrap() = VecDeque::from([1, 1, 1, 2]);
        assert_eq!(gateway.ask(get(target)).await.status, 200, "{target}");
        *gateway.host.copies.lock().unwrap() = VecDeque::from([1]);
        assert_eq!(gateway.ask(get(target)).await.problem(), (503, "not-ready".into()), "{target}");
        gateway.host.copies.lock().unwrap().clear();
        assert_eq!(gateway.ask(get(target)).await.problem(), (503, "not-ready".into()), "{target}");
    }
}

/// Nobody shall take what is not there yet for what is not there.
#[tokio::test]
async fn while_the_host_starts_nothing_is_said_to_be_missing() {
    let gateway = shop(3).await;
    let targets = ["/v1/read-models/orders", "/v1/read-models/orders/o-01", "/v1/queries/orders/echo"];
    gateway.host.starting.store(true, SeqCst);
    for target in targets {
        let answer = gateway.ask(get(target)).await;
        assert_eq!(answer.problem(), (503, "not-ready".into()), "{target}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.detail(), "the host is starting, no projection has begun");
    }
    gateway.host.starting.store(false, SeqCst);
    for target in targets {
        assert_eq!(gateway.ask(get(target)).await.status, 200, "{target}");
    }
    assert_eq!(gateway.ask(get("/v1/read-models/others")).await.problem(), (404, "no-collection".into()));
}

#[tokio::test]
async fn a_store_that_fails_is_told_as_what_it_is() {
    let gateway = shop(3).await;
    let away = StoreError::Unavailable { store: "sqlite", reason: "the disk is full".into() };
    for (fault, problem) in [
        (away, (503, "store-unavailable")),
        (StoreError::TooSlow(Duration::from_secs(5)), (504, "too-slow")),
        (StoreError::Refused("no".into()), (500, "store-refused")),
    ] {
        gateway.host.store.fail_with(Some(fault));
        for target in ["/v1/read-models/orders", "/v1/read-models/orders/o-01"] {
            let answer = gateway.ask(get(target)).await;
            assert_eq!(answer.problem(), (problem.0, problem.1.to_owned()));
            assert_eq!(answer.header("retry-after"), (problem.0 == 503).then_some("1"));
        }
    }
    gateway.host.store.fail_with(None);
    assert_eq!(gateway.ask(get("/v1/read-models/orders")).await.status, 200);
}

#[tokio::test]
async fn a_question_goes_to_the_plugin_with_its_parameters() {
    let gateway = shop(3).await;
    let answer =
        gateway.ask(get("/v1/queries/orders/echo?day=2026-01-31&n=5&id=%225%22&tag=a&tag=b&stale=allow")).await;
    assert_eq!(answer.json(), json!({ "day": "2026-01-31", "n": 5, "id": "5", "tag": ["a", "b"] }));
    assert_eq!(answer.header("tidemill-position"), Some("CUSTOMERS=3, ORDERS=3"));
    let bytes = gateway.ask(get("/v1/queries/orders/bytes")).await;
    assert_eq!((bytes.header("content-type"), &bytes.body[..]), (Some("application/octet-stream"), &[0xff, 0][..]));
    for (target, problem, part) in [
        ("/v1/queries/orders/nothing", (422, "query-refused"), "there is no query `nothing`"),
        ("/v1/queries/orders/crash", (500, "plugin-failed"), "no orders"),
        ("/v1/queries/orders/slow", (504, "too-slow"), "more than 5s"),
        ("/v1/queries/nobody/echo", (404, "no-projection"), "`projections` in runtime.yaml"),
    ] {
        let answer = gateway.ask(get(target)).await;
        assert_eq!(answer.problem(), (problem.0, problem.1.to_owned()), "{target}");
        assert!(answer.detail().contains(part), "{target}: {}", answer.detail());
    }
}

#[tokio::test]
async fn values_keep_the_form_in_which_they_were_written() {
    let gateway = Running::start().await;
    let exact: Value = serde_json::from_str(r#"{"n":0.1,"big":18446744073709551615}"#).unwrap();
    gateway.host.put("orders", "x", &exact);
    let answer = gateway.ask(get("/v1/read-models/orders/x")).await;
    assert!(answer.text().contains(r#"{"big":18446744073709551615,"n":0.1}"#), "{}", answer.text());
}
