//! The first signal drains, the second leaves at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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
