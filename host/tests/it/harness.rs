//! A folder with a configuration, a broker behind it, and the binary run in it.

mod host;
mod http;

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill::{app, files};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::envelope::{self, Envelope};
use tidemill_core::event::Event;
use tidemill_core::name::StreamName;
use tidemill_core::port::{Broker, Origin, ReadFrom, Recorded};
use tidemill_core::subject::SubjectPattern;

pub(crate) use self::host::Host;
pub(crate) use self::http::{Answer, address, ask};

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Which broker a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Embedded,
    Nats,
}

/// A folder of its own with a `runtime.yaml`, and the server that it names.
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Option<Server>,
}

// === impl Home ===

impl Home {
    /// Writes the configuration; on NATS with a `broker:` in front that names a fresh server.
    pub(crate) fn new(on: On, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = (on == On::Nats).then(Server::start);
        let home = Self { dir, server };
        home.configure(config);
        home
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, config: &str) {
        let broker =
            self.server.as_ref().map(|server| format!("broker: {{ nats: {{ servers: [\"{}\"] }} }}\n", server.url));
        fs::write(self.path("runtime.yaml"), format!("{config}\n{}", broker.unwrap_or_default())).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Drops a build into the folder as a careful person does: written beside, then renamed.
    pub(crate) fn put_plugin(&self, plugin: &str, build: &[u8]) {
        fs::create_dir_all(self.path("plugins")).unwrap();
        fs::write(self.path("plugins/.incoming"), build).unwrap();
        fs::rename(self.path("plugins/.incoming"), self.path(&format!("plugins/{plugin}.wasm"))).unwrap();
    }

    /// Copies one of the repository's committed plugins.
    pub(crate) fn install(&self, plugins: &[&str]) {
        fs::create_dir_all(self.path("plugins")).unwrap();
        for plugin in plugins {
            let file = format!("plugins/{plugin}.wasm");
            fs::copy(root().join(&file), self.path(&file)).unwrap();
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.current_dir(self.dir.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs it to its end, which must be success, and answers its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut with_json = arguments.to_vec();
        with_json.extend(["--output", "json"]);
        let ran = self.run(&with_json);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
    }

    pub(crate) fn config(&self) -> RuntimeConfig {
        files::load_config(&self.path("runtime.yaml")).unwrap().config
    }

    /// The broker itself, when no host runs.
    pub(crate) async fn broker(&self) -> Arc<dyn Broker> {
        let config = self.config();
        let broker = app::connect(&config).await.unwrap();
        broker.provision(&config.streams).await.unwrap();
        broker
    }

    /// Every event that a stream holds, in order. Read to its end, however long that takes.
    pub(crate) async fn events(&self, broker: &Arc<dyn Broker>, stream: &str) -> Vec<Event> {
        let name = StreamName::try_new(stream).unwrap();
        let last = broker.bounds(&name).await.unwrap().last;
        let from = ReadFrom { stream: name.clone(), subjects: self.stream_subjects(stream), after: 0 };
        let mut reader = broker.read(from).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut events = Vec::new();
        let mut through = 0;
        while through < last {
            assert!(Instant::now() < deadline, "through {through} of {last} in {stream}");
            let stretch = reader.next(500).await.unwrap();
            through = stretch.through;
            for Recorded { sequence, message, .. } in stretch.messages {
                let origin = Origin { stream: name.clone(), sequence };
                events.push(envelope::decode(&Envelope::CloudEvents, &message, &origin).unwrap());
            }
        }
        events
    }

    fn stream_subjects(&self, stream: &str) -> Vec<SubjectPattern> {
        let config = self.config();
        config.streams.iter().find(|known| known.name.as_str() == stream).unwrap().subjects.clone()
    }
}

/// What a run of the binary left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A `nats-server` on a port and a store of its own; it may be killed and started again.
pub(crate) struct Server {
    child: Child,
    port: u16,
    pub(crate) url: String,
    store: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = launch(port, store.path());
        Self { child, port, url: format!("nats://127.0.0.1:{port}"), store }
    }

    /// SIGKILL, then the same store again after a pause.
    pub(crate) fn kill_and_restart(&mut self, pause: Duration) {
        self.kill();
        std::thread::sleep(pause);
        self.restart();
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`kill`](Self::kill), on the same port and store.
    pub(crate) fn restart(&mut self) {
        self.child = launch(self.port, self.store.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn launch(port: u16, store: &Path) -> Child {
    let binary = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
    let mut child = Command::new(&binary)
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("`{binary}` does not start ({error}); run tests with NATS_SERVER=$(tools/nats-server)")
        });
    let deadline = Instant::now() + Duration::from_secs(60);
    while !answers(port) {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "nats-server on port {port} has ended: {ended:?}");
        assert!(Instant::now() < deadline, "nats-server does not listen on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Below the ports that the system gives to outgoing connections: one of those may be taken before the server listens, and
/// whoever tries one until it answers may end up connected with itself.
fn free_port() -> u16 {
    let free = |_| TcpListener::bind(("127.0.0.1", fastrand::u16(10_000..30_000))).ok();
    (0..1000).find_map(free).expect("a free port").local_addr().unwrap().port()
}

/// Whether a NATS server listens there.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO "
}
