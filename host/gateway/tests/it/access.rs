//! Who may do what.

use crate::client::{Ask, get, post};
use crate::rig::Running;

const TOKENS: &str = "  tokens:
    - { token: reads-reads-reads, scopes: [read] }
    - { token: ingests-ingests-1, scopes: [ingest] }
    - { token: admins-admins-admins, scopes: [admin] }
    - { token: everything-everything, scopes: [read, ingest, admin] }
";

fn bearer(ask: &Ask, token: &str) -> Ask {
    ask.clone().with("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn each_token_opens_what_its_scopes_say_and_nothing_else() {
    let gateway = Running::with(TOKENS).await;
    let (read, ingest, admin) = ("reads-reads-reads", "ingests-ingests-1", "admins-admins-admins");
    let raw = || post("/v1/streams/ORDERS/orders.x", "x");
    // Who may, and what they get then.
    for (ask, opens, status) in [
        (get("/v1/read-models/orders"), vec![read], 200),
        (get("/v1/read-models/orders/x"), vec![read], 404),
        (get("/v1/queries/orders/echo"), vec![read], 200),
        (post("/v1/events", ""), vec![ingest], 415),
        (raw(), vec![ingest], 202),
        (get("/metrics"), vec![admin], 200),
        (get("/openapi.json"), vec![read, ingest, admin], 200),
        (get("/nothing"), vec![read, ingest, admin], 404),
    ] {
        for token in [read, ingest, admin] {
            let answer = gateway.ask(bearer(&ask, token)).await;
            if opens.contains(&token) {
                assert_eq!(answer.status, status, "{ask:?} with {token}: {}", answer.text());
            } else {
                assert_eq!(answer.problem(), (403, "forbidden".into()), "{ask:?} with {token}");
                assert!(answer.detail().contains("`http.tokens[].scopes: ["), "{}", answer.detail());
            }
        }
        assert_eq!(gateway.ask(bearer(&ask, "everything-everything")).await.status, status, "{ask:?}");
        for wrong in
            [ask.clone(), bearer(&ask, "reads-reads-read"), bearer(&ask, ""), bearer(&ask, "reads-reads-reads2")]
        {
            let answer = gateway.ask(wrong).await;
            assert_eq!(answer.problem(), (401, "unauthorized".into()), "{ask:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tidemill\""));
        }
        let basic = ask.clone().with("authorization", "Basic cmVhZHM6cmVhZHM=");
        assert_eq!(gateway.ask(basic).await.problem(), (401, "unauthorized".into()));
    }
    assert_eq!(gateway.ask(get("/livez")).await.status, 200);
    assert_eq!(gateway.ask(get("/readyz")).await.status, 200);
    // What needs a token does not even tell which methods it has.
    assert_eq!(gateway.ask(get("/v1/events")).await.status, 401);
}

#[tokio::test]
async fn a_refused_event_is_not_stored() {
    let gateway = Running::with(TOKENS).await;
    let ask = post("/v1/streams/ORDERS/orders.x", "x");
    assert_eq!(gateway.ask(bearer(&ask, "reads-reads-reads")).await.status, 403);
    assert!(gateway.host.stored("ORDERS").await.is_empty());
}

#[tokio::test]
async fn on_loopback_without_tokens_everything_is_open() {
    let gateway = Running::start().await;
    for target in ["/livez", "/readyz", "/metrics", "/openapi.json", "/v1/read-models/orders"] {
        assert_eq!(gateway.ask(get(target)).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn only_names_of_this_gateway_are_served() {
    let gateway = Running::with("  hosts: [API.example.com]\n").await;
    let port = gateway.address.port();
    let with = |host: &str| get("/v1/read-models/orders").with("host", host);
    for good in ["localhost", "LOCALHOST:1", "127.0.0.1", &format!("127.0.0.1:{port}"), "api.example.com:8443"] {
        assert_eq!(gateway.ask(with(good)).await.status, 200, "{good}");
    }
    for bad in ["evil.example", "localhost.evil.example", "127.0.0.2", "[::1]", "10.0.0.1:80", "example.com"] {
        let answer = gateway.ask(with(bad)).await;
        assert_eq!(answer.problem(), (421, "wrong-host".into()), "{bad}");
        assert!(answer.detail().contains("`http.hosts: ["), "{}", answer.detail());
    }
    for none in ["", "a@localhost", "a b", "http://localhost"] {
        assert_eq!(gateway.ask(with(none)).await.problem(), (400, "bad-request".into()), "{none:?}");
    }
    let twice = with("localhost").with("host", "evil.example");
    assert_eq!(gateway.ask(twice).await.status, 400);
    let absolute = get("http://evil.example/v1/read-models/orders").with("host", "localhost");
    assert_eq!(gateway.ask(absolute).await.problem(), (421, "wrong-host".into()));
    // A probe knows no names.
    assert_eq!(gateway.ask(get("/livez").with("host", "10.1.2.3:8080")).await.status, 200);
}

#[tokio::test]
async fn a_web_page_of_another_site_gets_nothing_done() {
    let gateway = Running::start().await;
    let ask = |origin: &str| post("/v1/streams/ORDERS/orders.x", "x").with("origin", origin);
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://"] {
        assert_eq!(gateway.ask(ask(origin)).await.problem(), (403, "cross-origin".into()), "{origin}");
    }
    assert!(gateway.host.stored("ORDERS").await.is_empty());
    let preflight = ask("https://evil.example").method("OPTIONS").with("access-control-request-method", "POST");
    let answer = gateway.ask(preflight).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    assert_eq!(gateway.ask(ask("http://localhost:3000")).await.status, 202);
}

#[tokio::test]
async fn every_answer_says_what_it_is_and_what_may_be_kept() {
    let gateway = Running::start().await;
    for (target, kept) in [("/livez", "no-store"), ("/v1/read-models/orders", "no-store"), ("/nothing", "no-store")] {
        let answer = gateway.ask(get(target)).await;
        assert_eq!(
            (answer.header("x-content-type-options"), answer.header("cache-control")),
            (Some("nosniff"), Some(kept))
        );
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems() {
    let gateway = Running::start().await;
    for target in ["/", "/v1", "/v1/read-models", "/v1/read-models/orders/a/b", "/v2/events", "/%ff"] {
        assert_eq!(gateway.ask(get(target)).await.problem(), (404, "not-found".into()), "{target}");
    }
    for (method, target, allow) in [
        ("GET", "/v1/events", "POST"),
        ("PUT", "/v1/streams/ORDERS/orders.x", "POST"),
        ("POST", "/v1/read-models/orders", "GET, HEAD"),
        ("DELETE", "/v1/read-models/orders/x", "GET, HEAD"),
        ("TRACE", "/livez", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ] {
        let answer = gateway.ask(get(target).method(method)).await;
        assert_eq!(answer.problem(), (405, "method-not-allowed".into()), "{method} {target}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
}
