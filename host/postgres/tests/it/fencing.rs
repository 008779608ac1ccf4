//! Two hosts and one projection.

use std::time::{Duration, Instant};

use tidemill_core::read_model::{Claim, ReadModelStore as _, StoreError};

use crate::proxy::Proxy;
use crate::server::Server;
use crate::world::{
    LEASE, PATIENCE, at, commit_in_the_end, config, config_in, connect, copy, granted, new_schema, note, note_after,
    projection, stored, unavailable,
};

#[tokio::test]
async fn a_host_that_was_stopped_past_its_lease_cannot_commit() {
    let config = config(&Server::shared().url());
    let (a, b) = (connect(&config).await, connect(&config).await);
    let old = granted(&a, "host-a").await;
    let copy = copy(&a, &old).await;
    a.commit(&old, &copy, note(1)).await.unwrap();
    let new = granted(&b, "host-b").await;
    assert!(new.epoch > old.epoch);
    let fenced = |answer: Result<(), StoreError>| assert!(matches!(answer, Err(StoreError::Fenced(_))), "{answer:?}");
    fenced(a.commit(&old, &copy, note_after(1, 2)).await);
    fenced(a.renew(&old).await);
    fenced(a.set_paused(&old, true).await);
    assert_eq!(stored(&a, &copy).await, (r#"{"number":1}"#.to_owned(), at(1)));
    b.commit(&new, &copy, note_after(1, 3)).await.unwrap();
    assert_eq!(stored(&a, &copy).await, (r#"{"number":3}"#.to_owned(), at(3)));
    assert_eq!(b.ledger(&projection()).await.unwrap().holder.as_deref(), Some("host-b"));
}

#[tokio::test]
async fn a_claim_is_held_as_long_as_it_is_renewed() {
    let mut config = config(&Server::shared().url());
    config.lease = Duration::from_secs(8);
    let (a, b) = (connect(&config).await, connect(&config).await);
    assert!(a.renew_every().unwrap() <= config.lease / 2);
    let fence = granted(&a, "host-a").await;
    for _ in 0..2 {
        tokio::time::sleep(config.lease * 5 / 8).await;
        a.renew(&fence).await.unwrap();
    }
    let Claim::Held { by, for_at_least } = b.claim(&projection(), "host-b").await.unwrap() else {
        panic!("a holder that renewed was replaced")
    };
    assert_eq!(by, "host-a");
    assert!(for_at_least <= config.lease && !for_at_least.is_zero(), "{for_at_least:?}");
    a.release(&fence).await.unwrap();
    let claim = b.claim(&projection(), "host-b").await.unwrap();
    assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_claim_at_once_one_is_granted() {
    let mut config = config(&Server::shared().url());
    config.lease = Duration::from_secs(60);
    let store = connect(&config).await;
    let claims = (0..8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.claim(&projection(), &format!("host-{number}")).await.unwrap() })
    });
    let mut granted = 0;
    for claim in claims.collect::<Vec<_>>() {
        granted += usize::from(matches!(claim.await.unwrap(), Claim::Granted(_)));
    }
    assert_eq!(granted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_waits_for_a_commit_that_is_about_to_be_done() {
    let server = Server::shared();
    let config = config(&server.url());
    let (a, b) = (connect(&config).await, connect(&config).await);
    granted(&a, "host-a").await;
    // What a commit does first.
    let committing = server.raw().await;
    let lock = format!("BEGIN; SELECT epoch FROM \"{}\".projections WHERE name = 'orders' FOR SHARE", config.schema);
    committing.batch_execute(&lock).await.unwrap();
    tokio::time::sleep(LEASE).await;
    let claim = tokio::spawn(async move { granted(&b, "host-b").await });
    let waits =
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%projections%'";
    let deadline = Instant::now() + PATIENCE;
    let looking = server.raw().await;
    while looking.query(waits, &[&config.schema]).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline && !claim.is_finished(), "the claim did not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    committing.batch_execute("COMMIT").await.unwrap();
    claim.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_inside_of_a_commit_holds_up_nobody() {
    let server = Server::shared();
    let schema = new_schema();
    // Everything of the commit arrives but its last word.
    let proxy = Proxy::that_swallows(server.address(), b"COMMIT").await;
    let b = connect(&config_in(&server.url(), &schema)).await;
    let a = connect(&config_in(&format!("postgresql://tidemill@{}/postgres", proxy.address()), &schema)).await;
    let old = granted(&a, "host-a").await;
    let copy = copy(&b, &old).await;
    proxy.begin();
    let cut_off = tokio::spawn({
        let (a, old, copy) = (a.clone(), old.clone(), copy.clone());
        async move { a.commit(&old, &copy, note(1)).await }
    });
    proxy.swallowed().await;
    let new = granted(&b, "host-b").await;
    assert_eq!(stored(&b, &copy).await, (String::new(), Default::default()));
    b.commit(&new, &copy, note(2)).await.unwrap();
    unavailable(cut_off.await.unwrap());
    proxy.end();
    // The host finds out by itself that it is not the one any more.
    let deadline = Instant::now() + PATIENCE;
    loop {
        match a.commit(&old, &copy, note(3)).await {
            Err(StoreError::Fenced(_)) => break,
            Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stored(&b, &copy).await, (r#"{"number":2}"#.to_owned(), at(2)));
    commit_in_the_end(&b, &new, &copy, 4).await;
}
