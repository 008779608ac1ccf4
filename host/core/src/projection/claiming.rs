//! Who folds: claiming the projection, keeping the claim, waiting while another host has it.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::board::Phase;
use super::control::{ControlError, Order};
use super::{Projection, turned};
use crate::read_model::{Claim, Fence, StoreError};

/// How often a host on standby looks at the ledger, at least.
const STANDBY_LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(50);

/// Claims the projection, however long it takes. `None`: it shall stop.
pub(super) async fn claim(
    projection: &Projection,
    orders: &mut mpsc::Receiver<Order>,
    stop: &mut watch::Receiver<bool>,
) -> Option<Fence> {
    loop {
        if *stop.borrow() {
            return None;
        }
        let (name, store) = (&projection.config.name, &projection.store);
        let (phase, pause) = match store.claim(name, &projection.host).await {
            Ok(Claim::Granted(fence)) => return Some(fence),
            Ok(Claim::Held { by, for_at_least }) => {
                if let Ok(ledger) = store.ledger(name).await {
                    projection.board.activated(&projection.config, ledger.active());
                }
                (Phase::Standby(by), for_at_least.clamp(SHORTEST_LOOK, STANDBY_LOOK))
            }
            Err(error) => (Phase::Waiting(error.to_string()), STANDBY_LOOK),
        };
        if projection.board.phase() != phase {
            tracing::info!(projection = %name, state = ?phase, "Not folding");
        }
        projection.board.show_folds(None, None);
        projection.board.show(phase);
        let mut pause = std::pin::pin!(sleep(pause));
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(order) = orders.recv() => refuse(projection, order),
                () = turned(stop) => return None,
            }
        }
    }
}

/// An order to a host that does not fold.
pub(super) fn refuse(projection: &Projection, order: Order) {
    let error = match projection.board.phase() {
        Phase::Standby(holder) => ControlError::NotActive { holder },
        Phase::Waiting(reason) => StoreError::Unavailable { store: projection.store.kind(), reason }.into(),
        _ => ControlError::Stopped,
    };
    // Whoever went away is not told.
    let _ = order.answer.send(Err(error));
}

/// Says regularly that this host lives; returns when it has been replaced.
pub(super) async fn keep(projection: &Projection, fence: &Fence) {
    let Some(every) = projection.store.renew_every() else { return std::future::pending().await };
    loop {
        sleep(every).await;
        match projection.store.renew(fence).await {
            Ok(()) => {}
            Err(StoreError::Fenced(_)) => return,
            // Whoever takes over fences this host: until then it may go on.
            Err(error) => {
                tracing::warn!(projection = %projection.config.name, %error, "The claim could not be renewed");
            }
        }
    }
}
