//! A gateway with nothing behind it but memory: for tests from outside (`tools/schemathesis`), and to look at the API.
//!
//! `cargo run -p tidemill-gateway --example demo [ADDRESS]`

#![allow(clippy::unwrap_used, reason = "what is shared with the tests fails by panicking")]

use std::process::ExitCode;

use serde_json::json;
use tidemill_gateway::Gateway;
use tokio::sync::watch;

#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/it/host.rs"]
mod host;
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/it/store.rs"]
mod store;

#[tokio::main]
async fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7380".to_owned());
    // Nothing is ever folded here, so whoever waits waits in vain.
    let http = format!("{}  limits: {{ query_timeout: 100ms }}\n", host::HTTP.replace("127.0.0.1:0", &address));
    let config = host::configured(&http);
    let host = host::Host::new(&config).await;
    for n in 0..100 {
        let status = ["pending", "paid", "shipped"][n % 3];
        let document = json!({
            "status": status, "total": n * 7 % 50,
            "customer_id": format!("c-{}", n % 10), "created_at": format!("2026-01-31T12:{:02}:00Z", n % 60),
        });
        host.put("orders", &format!("o-{n:05}"), &document);
    }
    host.put("registrations", "r-1", &json!({ "status": "welcomed" }));
    host.fold_to(1000);
    let gateway = match Gateway::bind(config.http.unwrap_or_else(|| unreachable!("the text has `http`"))).await {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("http://{}", gateway.address());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::signal::ctrl_c().await.ok();
        stop.send_replace(true);
    });
    gateway.serve(host, stopped).await;
    ExitCode::SUCCESS
}
