//! `sslmode` in the address.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidemill_core::read_model::StoreError;
use tidemill_postgres::PostgresStore;

use crate::server::{Server, give_to_server};
use crate::world::{config, connect};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// An authority, and a server with a certificate of it for `localhost`.
fn server(folder: &Path) -> (Server, PathBuf) {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let server = Server::start_with(|data| {
        for (name, text) in [
            ("server.crt", pem("CERTIFICATE", certificate.der())),
            ("server.key", pem("PRIVATE KEY", &key.serialize_der())),
        ] {
            std::fs::write(data.join(name), text).unwrap();
            give_to_server(&data.join(name));
        }
        vec!["ssl=on".to_owned()]
    });
    let file = folder.join("authority.pem");
    std::fs::write(&file, pem("CERTIFICATE", authority.der())).unwrap();
    (server, file)
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

#[tokio::test]
async fn a_connection_is_as_safe_as_its_address_says() {
    let folder = tempfile::tempdir().unwrap();
    let (server, authority) = server(folder.path());
    let stranger = tempfile::tempdir().unwrap();
    let other = stranger.path().join("authority.pem");
    std::fs::write(&other, pem("CERTIFICATE", self::authority().der())).unwrap();
    let by_name = server.url().replace("127.0.0.1", "localhost");
    let verified =
        |url: &str, authority: &Path| format!("{url}?sslmode=verify-full&sslrootcert={}", authority.display());

    connect(&config(&format!("{by_name}?sslmode=require"))).await;
    connect(&config(&verified(&by_name, &authority))).await;
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tidemill'";
    let store = connect(&config(&by_name)).await;
    let row = server.raw().await.query_one(encrypted, &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<bool>>(0), Some(true), "what can be encrypted is");
    drop(store);

    for (url, why) in [
        (verified(&server.url(), &authority), "another name"),
        (verified(&by_name, &other), "another authority"),
        (format!("{by_name}?sslmode=verify-full"), "an authority that the system does not know"),
    ] {
        let answer = PostgresStore::connect(&config(&url)).await.map(|_| ());
        let Err(StoreError::Unavailable { reason, .. } | StoreError::Refused(reason)) = answer else {
            panic!("connected with {why}")
        };
        assert!(reason.contains("certificate"), "{why}: {reason}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let url = format!("{}?sslmode=require", Server::shared().url());
    let answer = PostgresStore::connect(&config(&url)).await.map(|_| ());
    let Err(StoreError::Refused(reason) | StoreError::Unavailable { reason, .. }) = answer else {
        panic!("connected without TLS")
    };
    assert!(reason.contains("TLS"), "{reason}");
}
