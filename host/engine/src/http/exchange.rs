//! One request and its answer, on a connection of its own.
//!
//! The name is resolved once. Every address of the answer is checked, and one that is refused denies the request, whatever
//! the others are: a name that is half inside is an attack or a mistake. The connection goes to a checked address, not to the
//! name.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tidemill_core::outbound::{Scheme, Target, check_address};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::{AnswerBody, Bounds, RequestBody};
use super::refused::Refused;
use super::target::host_header;
use super::{Notes, Outbound};

/// How long one of the addresses has to take the connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// What hyper buffers of an answer at once; an answer's head must fit.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// A far deadline is a day: it must exist for the arithmetic to hold.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A request that may be sent.
pub(super) struct Exchange {
    pub(super) outbound: Arc<Outbound>,
    pub(super) target: Target,
    pub(super) notes: Notes,
    /// The request is under way for as long as anything holds this.
    pub(super) permit: Arc<OwnedSemaphorePermit>,
    /// Closed at the end of the call.
    pub(super) ended: watch::Receiver<()>,
}

/// A connection that nobody else uses, and what ends it.
struct Connection {
    sender: SendRequest<RequestBody>,
    driver: AbortOnDropJoinHandle<()>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

// === impl Exchange ===

impl Exchange {
    /// Sends the request and gives the answer, whose body goes on under the same limits. Cancelling closes the connection.
    pub(super) async fn run(
        self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let bounds = self.bounds(&options);
        let (deadline, mut ended) = (bounds.deadline, self.ended.clone());
        let answer = tokio::select! {
            biased;
            // Nothing is ever sent on it: it changes by being closed.
            _ = ended.changed() => Err(Refused::CallEnded { target: self.target.clone() }),
            answer = timeout_at(deadline, self.exchange(request, options, bounds)) => match answer {
                Ok(answer) => answer,
                Err(_) => Err(Refused::TimedOut { target: self.target.clone(), allowed: self.limits().http_timeout }),
            },
        };
        answer.map_err(|why| self.notes.note(&why))
    }

    async fn exchange(
        &self,
        request: Request<WasiBody>,
        options: RequestOptions,
        bounds: Bounds,
    ) -> Result<Response<WasiBody>, Refused> {
        let exceeded = Arc::new(AtomicBool::new(false));
        let request = self.prepare(request, &exceeded)?;
        let addresses = self.checked_addresses().await?;
        let stream = self.connect(&addresses, options.connect_timeout).await?;
        let mut connection = self.open(stream, bounds.deadline).await?;
        let sent = connection.sender.send_request(request);
        let answer = match options.first_byte_timeout {
            None => sent.await,
            Some(allowed) => {
                let silent = |_| Refused::Silent { target: self.target.clone(), allowed };
                timeout(allowed, sent).await.map_err(silent)?
            }
        };
        match answer {
            Ok(answer) => self.receive(answer, bounds, connection.driver),
            Err(_) if exceeded.load(Ordering::Relaxed) => Err(self.request_too_large()),
            Err(why) => Err(bounds.broken(&why)),
        }
    }

    /// The request as it goes over the wire: only a path in its first line, and the checked target as its host.
    fn prepare(&self, request: Request<WasiBody>, exceeded: &Arc<AtomicBool>) -> Result<Request<RequestBody>, Refused> {
        let (mut head, body) = request.into_parts();
        let left = self.limits().http_body;
        let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        if announced.is_some_and(|size: u64| size > left) {
            return Err(self.request_too_large());
        }
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from(path);
        let host = HeaderValue::from_str(&host_header(&self.target))
            .map_err(|_| Refused::Authority(self.target.host.clone()))?;
        head.headers.insert(header::HOST, host);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(Request::from_parts(head, RequestBody { body, left, exceeded: Arc::clone(exceeded) }))
    }

    async fn checked_addresses(&self) -> Result<Vec<IpAddr>, Refused> {
        let addresses = match self.target.host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve().await.map_err(|why| self.unresolved(why.to_string()))?,
        };
        for address in &addresses {
            check_address(&self.outbound.settings.allowed_outbound_hosts, &self.target, *address)?;
        }
        if addresses.is_empty() { Err(self.unresolved("it has no address".to_owned())) } else { Ok(addresses) }
    }

    /// The system's resolver blocks a thread until it answers, however long that takes and whoever has given up. So it
    /// counts as a request under way until then, or a plugin could pile up threads.
    async fn resolve(&self) -> io::Result<Vec<IpAddr>> {
        let (resolver, host) = (self.outbound.network.resolver(), self.target.host.clone());
        let permit = Arc::clone(&self.permit);
        let resolving = tokio::spawn(async move {
            let found = resolver.resolve(&host).await;
            drop(permit);
            found
        });
        resolving.await.map_err(io::Error::other)?
    }

    async fn connect(&self, addresses: &[IpAddr], wanted: Option<Duration>) -> Result<Box<dyn Stream>, Refused> {
        let allowed = wanted.map_or(CONNECT_LIMIT, |wanted| wanted.min(CONNECT_LIMIT));
        let timed_out = |_| Refused::ConnectTimedOut { target: self.target.clone(), allowed };
        let stream = timeout(allowed, self.connect_to_any(addresses)).await.map_err(timed_out)??;
        match self.target.scheme {
            Scheme::Http => Ok(Box::new(stream)),
            Scheme::Https => {
                let secured = self.secure(stream).await;
                secured.map_err(|why| Refused::Tls { target: self.target.clone(), why })
            }
        }
    }

    async fn connect_to_any(&self, addresses: &[IpAddr]) -> Result<TcpStream, Refused> {
        let mut last = self.unresolved("it has no address".to_owned());
        for &address in addresses {
            match TcpStream::connect(SocketAddr::new(address, self.target.port)).await {
                Ok(stream) => return Ok(stream),
                Err(why) => last = Refused::Unconnected { target: self.target.clone(), address, why },
            }
        }
        Err(last)
    }

    /// The certificate must be for the name, although the connection goes to an address.
    async fn secure(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::try_from(self.target.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(self.outbound.network.tls()?.connect(name, stream).await?))
    }

    /// Speaks HTTP/1.1. The connection ends with the answer's body, the deadline or the call, whichever is first.
    async fn open(&self, stream: Box<dyn Stream>, deadline: Instant) -> Result<Connection, Refused> {
        let opened = http1::Builder::new().max_buf_size(MAX_BUFFER_BYTES).handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            opened.map_err(|why| Refused::Broken { target: self.target.clone(), why: why.to_string() })?;
        let (permit, mut ended) = (Arc::clone(&self.permit), self.ended.clone());
        let driver = wasmtime_wasi::runtime::spawn(async move {
            tokio::select! {
                // How it ended is told to whoever waits for the answer.
                _ = timeout_at(deadline, connection) => {}
                _ = ended.changed() => {}
            }
            drop(permit);
        });
        Ok(Connection { sender, driver })
    }

    fn receive(
        &self,
        answer: Response<Incoming>,
        bounds: Bounds,
        driver: AbortOnDropJoinHandle<()>,
    ) -> Result<Response<WasiBody>, Refused> {
        if answer.body().size_hint().lower() > bounds.bytes {
            return Err(bounds.too_large());
        }
        let notes = self.notes.clone();
        Ok(answer.map(|body| AnswerBody::new(body, bounds, notes, driver).boxed_unsync()))
    }

    fn bounds(&self, options: &RequestOptions) -> Bounds {
        let limits = self.limits();
        Bounds {
            target: self.target.clone(),
            bytes: limits.http_body,
            time: limits.http_timeout,
            deadline: Instant::now() + limits.http_timeout.min(LONGEST),
            silence: options.between_bytes_timeout,
        }
    }

    fn limits(&self) -> &tidemill_core::limits::Limits {
        &self.outbound.settings.limits
    }

    fn unresolved(&self, why: String) -> Refused {
        Refused::Unresolved { target: self.target.clone(), why }
    }

    fn request_too_large(&self) -> Refused {
        Refused::RequestTooLarge { target: self.target.clone(), allowed: self.limits().http_body }
    }
}
