//! The first signal drains, the second leaves at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::reload::Request;

/// Turns `stop` true at the first SIGTERM or SIGINT; ends the process at the second.
pub async fn watch(stop: watch::Sender<bool>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "Stopping: no new events are read, running calls finish; once more to leave at once");
    stop.send_replace(true);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("Left at once; what was in flight is delivered again at the next start");
    std::process::exit(130);
}

/// Asks for a look at what lies on disk at each SIGHUP, as a change of a file does. Never ends.
pub async fn reload(requests: mpsc::Sender<Request>) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        tracing::info!(signal = "SIGHUP", "Looking at configuration, schemas and plugins");
        // What comes of it is logged there; if nobody looks any more, the host is stopping.
        let (answer, _) = oneshot::channel();
        drop(requests.send(answer).await);
    }
    Ok(())
}
