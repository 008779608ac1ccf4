//! The socket: taking connections, and ending them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidemill_core::config::HttpConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::patient::Patient;
use crate::runtime::Runtime;
use crate::service::{Client, Service};
use crate::tls::{self, TlsError};

/// The head of a request: more is answered with 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Header fields of one request. A CloudEvent may have 64 extension attributes.
const MAX_HEADERS: usize = 128;

/// After the system refused a connection (out of file descriptors, mostly), so that the refusal is not asked for in a loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The gateway, listening.
pub struct Gateway {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    config: HttpConfig,
}

/// Why the gateway does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: {source}; another process may listen there, `http.listen` in runtime.yaml names another address"
    )]
    Address { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

// === impl Gateway ===

impl Gateway {
    /// Takes the address and reads the certificates. Nobody is answered before [`serve`](Self::serve).
    pub async fn bind(config: HttpConfig) -> Result<Self, BindError> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let address = config.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| BindError::Address { address, source })?;
        Ok(Self { listener, tls, config })
    }

    /// Where it listens: with `:0` in the configuration, the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.config.listen)
    }

    /// Answers until `stop` turns true. Requests that are under way then may finish within `http.limits.timeout`; nobody new is
    /// let in. Dropping the future ends all at once.
    pub async fn serve(self, runtime: Arc<dyn Runtime>, mut stop: watch::Receiver<bool>) {
        let grace = self.config.limits.timeout;
        let places = Arc::new(Semaphore::new(self.config.limits.connections));
        let door = Door { service: Arc::new(Service::new(self.config, runtime)), tls: self.tls, stop: stop.clone() };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => {}
                (stream, place) = next(&self.listener, &places) => {
                    connections.spawn(door.clone().welcome(stream, place));
                }
            }
        }
        drop(self.listener);
        let finished = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, finished).await.is_err() {
            tracing::warn!(open = connections.len(), "Requests are cut off, since they did not finish in time");
        }
    }
}

/// The next connection. A place is taken first, so that more connections than there are places wait in the system's queue.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore, so there always is a permit in the end.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "A connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What every connection is welcomed with.
#[derive(Clone)]
struct Door {
    service: Arc<Service>,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
}

// === impl Door ===

impl Door {
    async fn welcome(self, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
        let _place = place;
        let _counted = self.service.counts.connected();
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
        // Without it a small answer may wait for the client's acknowledgement of the last one.
        stream.set_nodelay(true).ok();
        let timeout = self.service.config.limits.timeout;
        let stream = Patient::new(stream, timeout);
        let mut client =
            Client { local: local.ip().to_canonical(), remote: remote.ip().to_canonical(), certified: false };
        let Some(acceptor) = &self.tls else {
            return self.serve(stream, client).await;
        };
        match tokio::time::timeout(timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                client.certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
                self.serve(stream, client).await;
            }
            Ok(Err(error)) => tracing::debug!(%remote, %error, "A client did not manage TLS"),
            Err(_) => tracing::debug!(%remote, "A client was too slow for TLS"),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, client: Client) {
        let (service, mut stop) = (&self.service, self.stop.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(service.config.limits.timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service_fn(|request| service.answer(client, request)));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            // Its answer holds a lock, which nothing may be awaited with.
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(remote = %client.remote, %error, "A connection ended early");
        }
    }
}
