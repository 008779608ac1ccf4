//! `http`: the gateway.

use serde_json::json;

use super::super::leaf::{Count, KIB, MIB, OneOf, Size, Span, Text};
use super::super::read::{List, Optional, Required, record};
use super::super::{Scope, Secret};

record! {
    /// The HTTP gateway: events in, read models out, health and metrics.
    Http {
        /// The address and port. Any address but loopback demands `tokens` or `tls.client_ca_file`.
        #[schemars(extend("default" = "127.0.0.1:7380"), example = &"0.0.0.0:8443")]
        listen: Optional<Text>,
        /// Encryption. Left out: none.
        tls: Optional<HttpTls>,
        /// Who may do what. With one or more, every request except `/livez` and `/readyz` needs one: `Authorization: Bearer TOKEN`.
        tokens: Optional<List<Token>>,
        /// Host names that requests may be made to, beside the address itself and, on loopback, `localhost`. Others are refused, so
        /// that a web page cannot reach the gateway through a name of its own.
        #[schemars(example = ["api.example.com"])]
        hosts: Optional<List<Text>>,
        /// Which events `POST /v1/events` takes, and the subject that each is published to. The first entry that names the type counts.
        #[schemars(example = json!([{ "type": ["OrderCreated"], "subject": "orders.created" }]))]
        ingest: Optional<List<Ingest>>,
        /// How much a client may take.
        limits: Optional<HttpLimits>,
    }
}

record! {
    /// TLS of the gateway.
    HttpTls {
        /// The certificate chain, in PEM.
        #[schemars(example = &"./server.pem")]
        cert_file: Required<Text>,
        /// Its key, in PEM.
        #[schemars(example = &"./server.key")]
        key_file: Required<Text>,
        /// Authorities whose client certificates are accepted, in PEM. With it a client needs a certificate or a token.
        #[schemars(example = &"./clients.pem")]
        client_ca_file: Optional<Text>,
        /// What a client with a certificate may do.
        #[schemars(extend("default" = ["read"]), example = ["read", "ingest"])]
        client_scopes: Optional<List<OneOf<Scope>, 1>>,
    }
}

record! {
    /// A token.
    Token {
        /// The text that a client sends.
        #[schemars(example = &"${secret:http.token}")]
        token: Required<Secret>,
        /// What its holder may do: `read` (read models, queries), `ingest` (events in), `admin` (metrics and status).
        #[schemars(example = ["read"])]
        scopes: Required<List<OneOf<Scope>, 1>>,
    }
}

record! {
    /// Events that come in over HTTP.
    Ingest {
        /// Types of events.
        #[schemars(example = ["CustomerRegistered"])]
        r#type: Required<List<Text, 1>>,
        /// The subject that they are published to. A stream of `streams` must store it.
        #[schemars(example = &"customers.registered")]
        subject: Required<Text>,
        /// A collection whose document under the event's id tells what became of it. The answer then has its address as `Location`.
        #[schemars(example = &"registrations")]
        track: Optional<Text>,
    }
}

record! {
    /// Limits of the gateway.
    HttpLimits {
        /// One request's body.
        #[schemars(extend("default" = "1MiB"), example = &"256KiB")]
        body: Optional<Size<KIB, { 64 * MIB }>>,
        /// Events of one batch.
        #[schemars(extend("default" = 1000), example = 100)]
        events: Optional<Count<1, 10_000>>,
        /// Connections at the same time. Further ones wait.
        #[schemars(extend("default" = 1024), example = 100)]
        connections: Optional<Count<1, 100_000>>,
        /// Requests a second of one client address; what exceeds it is answered with 429. Left out: no limit.
        #[schemars(example = 100)]
        requests_per_second: Optional<Count<1, 1_000_000>>,
        /// Until a request's head must have arrived, and then its body, and then each write of the answer must be taken.
        #[schemars(extend("default" = "10s"), example = &"30s")]
        timeout: Optional<Span<100>>,
        /// How long a query may take, and how long `wait_for` may wait.
        #[schemars(extend("default" = "5s"), example = &"30s")]
        query_timeout: Optional<Span<10>>,
    }
}
