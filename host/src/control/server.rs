//! The running host's side of the control socket.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Broker, BrokerError, DeadLetterQuery};
use tidemill_core::read_model::IndexValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::wire::{self, Answer, Request, WireDeadLetter, WireError, WireOutgoing, WirePublished};
use super::{Order, documents, pointer, socket_dir, socket_path};
use crate::app::App;
use crate::exit;

/// The longest request line: a batch of messages. Longer ones end the connection.
const MAX_REQUEST_BYTES: u64 = 64 * 1024 * 1024;

/// Answers until it is dropped; then the socket is removed.
pub struct Server {
    path: PathBuf,
    pointer: PathBuf,
    listening: JoinHandle<()>,
}

// === impl Server ===

impl Server {
    /// Where somebody else answers already, a second host on the same folder, this one cannot be reached.
    pub async fn start(app: Arc<App>) -> Result<Option<Self>> {
        let path = socket_path(socket_dir(app.config()));
        if UnixStream::connect(&path).await.is_ok() {
            tracing::warn!(
                socket = %path.display(),
                "Another host answers `tidemill status` and `tidemill plugins` here; give each a `plugins.cache_dir` of its own"
            );
            return Ok(None);
        }
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("removing the old socket `{}`", path.display()))?;
        }
        let listener = UnixListener::bind(&path).with_context(|| format!("listening on `{}`", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context("closing the socket to other users")?;
        let pointer = pointer(&app.reloader().path);
        fs::remove_file(&pointer).ok();
        if let Err(error) = std::path::absolute(&path).and_then(|path| symlink(path, &pointer)) {
            tracing::debug!(%error, pointer = %pointer.display(), "`tidemill status` needs a readable configuration");
        }
        let listening = tokio::spawn(listen(listener, app));
        Ok(Some(Self { path, pointer, listening }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
        // They may be gone already; the next host removes them otherwise.
        fs::remove_file(&self.path).ok();
        fs::remove_file(&self.pointer).ok();
    }
}

async fn listen(listener: UnixListener, app: Arc<App>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let app = Arc::clone(&app);
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, app).await {
                        tracing::debug!(%error, "A control connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "The control socket cannot accept; trying again");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, app: Arc<App>) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut read).take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line).await?;
        if length == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(request, &app).await.unwrap_or_else(Answer::Error),
            Err(error) => Answer::Error(WireError::Refused(format!("not a request of this version: {error}"))),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
}

async fn answer(request: Request, app: &App) -> Result<Answer, WireError> {
    let broker = app.broker();
    Ok(match request {
        Request::Publish(messages) => publish(messages, broker).await?,
        Request::DeadLetters { route, after, limit } => {
            let route = route.map(|name| RouteName::try_new(&name)).transpose().map_err(refused)?;
            let found = broker.dead_letters(DeadLetterQuery { route, after, limit }).await?;
            Answer::DeadLetters(found.iter().map(WireDeadLetter::from).collect())
        }
        Request::DeadLetter(id) => Answer::DeadLetter(broker.dead_letter(id).await?.as_ref().map(Into::into)),
        Request::Redrive(redrive) => Answer::Done(broker.redrive(redrive.into_redrive().map_err(refused)?).await?),
        Request::Discard(id) => Answer::Done(broker.discard(id).await?),
        Request::Backlog { route } => {
            let config = Arc::clone(&app.reloader().supervisor.running().await.config);
            let known = config.routes.iter().find(|known| known.name.as_str() == route);
            let known = known.ok_or_else(|| WireError::Refused(format!("the running host has no route `{route}`")))?;
            broker.backlog(known).await?.into()
        }
        Request::Status => Answer::Status(Box::new(app.status().await)),
        Request::Reload => Answer::Told(look(app).await?),
        Request::RollBack { plugin } => {
            let plugin = PluginName::try_new(&plugin).map_err(refused)?;
            let kept = app.reloader().roll_back(&plugin).await.map_err(failed)?;
            Answer::Told(format!("{kept} of `{plugin}` serves again; the build after it is quarantined"))
        }
        Request::Projection { name, order } => {
            Answer::Told(carry_out(app, &name, order.into_order().map_err(refused)?).await?)
        }
        Request::Documents { collection, key, params } => {
            Answer::Documents(documents::answer(app, &collection, key, &params).await?)
        }
        Request::Message { stream, sequence } => {
            let stream = StreamName::try_new(&stream).map_err(refused)?;
            Answer::Message(broker.message(&stream, sequence).await?.as_ref().map(Into::into))
        }
        Request::State { plugin, key } => {
            broker.state_get(&PluginName::try_new(&plugin).map_err(refused)?, &key).await?.into()
        }
        Request::StateKeys { plugin, prefix } => {
            Answer::Keys(broker.state_keys(&PluginName::try_new(&plugin).map_err(refused)?, &prefix).await?)
        }
        Request::ReadDocument { collection, key } => {
            let body = documents::read_one(app, &collection, &key).await?;
            Answer::Document(body.as_deref().map(wire::encode))
        }
        Request::FindDocuments { collection, column, value, after, limit } => {
            let value = IndexValue::from_bytes(&wire::decode(&value).map_err(refused)?);
            let found = documents::find_equal(app, &collection, (column, value), after, limit).await?;
            Answer::Found(found.into_iter().map(|it| (it.key, wire::encode(&it.body))).collect())
        }
        Request::Release { plugin } => {
            let plugin = PluginName::try_new(&plugin).map_err(refused)?;
            match app.reloader().release(&plugin).await.map_err(failed)? {
                Some(digest) => Answer::Told(format!("{digest} of `{plugin}` may run again; {}", look(app).await?)),
                None => Answer::Told(format!("the file of `{plugin}` is not quarantined")),
            }
        }
    })
}

async fn carry_out(app: &App, name: &str, order: Order) -> Result<String, WireError> {
    let view = app.reloader().supervisor.view();
    let projection = view.projections.iter().find(|projection| projection.config.name.as_str() == name);
    let known = || view.projections.iter().map(|one| one.config.name.to_string()).collect::<Vec<_>>().join(", ");
    let projection = projection.ok_or_else(|| {
        WireError::Refused(format!("the running host has no projection `{name}`; it has: {}", known()))
    })?;
    match order {
        Order::Rebuild => projection.rebuild().await.map(|started| {
            format!(
                "copy {} of `{name}` is being filled; `tidemill projection status {name}` says how far it is",
                started.copy
            )
        }),
        Order::Cancel => projection.cancel().await.map(|()| format!("the rebuild of `{name}` is given up")),
        Order::RollBack => {
            let back = projection.roll_back().await;
            back.map(|()| format!("the copy before serves `{name}` again, and catches up"))
        }
        Order::Pause => projection.pause().await.map(|()| format!("`{name}` is paused, also over a restart")),
        Order::Resume => projection.resume().await.map(|()| format!("`{name}` goes on")),
        Order::Reset(from) => {
            let reset = projection.reset(from).await;
            reset.map(|()| format!("an empty copy serves `{name}`, and is filled from there on"))
        }
    }
    .map_err(refused)
}

async fn publish(messages: Vec<WireOutgoing>, broker: &Arc<dyn Broker>) -> Result<Answer, WireError> {
    let messages: Result<Vec<_>> = messages.into_iter().map(WireOutgoing::into_outgoing).collect();
    let results = broker.publish(messages.map_err(refused)?).await;
    let wire = |result: Result<_, BrokerError>| result.as_ref().map(WirePublished::from).map_err(|e| e.clone().into());
    Ok(Answer::Published(results.into_iter().map(wire).collect()))
}

/// Asks for a look at what lies on disk, and waits for what comes of it.
async fn look(app: &App) -> Result<String, WireError> {
    let stopping = || WireError::Refused("the host is stopping".to_owned());
    let (answer, answered) = oneshot::channel();
    app.requests().send(answer).await.map_err(|_| stopping())?;
    match answered.await.map_err(|_| stopping())? {
        Ok(changes) if changes.is_empty() => Ok("nothing has changed".to_owned()),
        Ok(changes) => Ok(changes.to_string()),
        Err(text) => Err(WireError::Refused(text)),
    }
}

fn failed(error: anyhow::Error) -> WireError {
    WireError::Refused(exit::text(&error))
}

fn refused(error: impl std::fmt::Display) -> WireError {
    WireError::Refused(error.to_string())
}
