//! A PostgreSQL of the tests' own, on a free port of the loopback, with a database of its own that syncs nothing.
//!
//! It does not run as root, so where the tests do, another user runs it. It ends when the test program does, however that ends:
//! a shell keeps it as long as the program keeps the shell's input open.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// `nobody`, wherever there is one.
const NOBODY: u32 = 65534;

/// Far more than a server needs to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server when the input ends; `INT` breaks its connections off, but lets it finish. Then removes what it shall.
const KEEPER: &str = r#"remove=$1; shift; "$@" & server=$!; read -r _; kill -INT "$server" 2>/dev/null; wait "$server"
    [ -z "$remove" ] || rm -rf "$remove""#;

/// A running server. Stopped when dropped.
pub(crate) struct Server {
    home: TempDir,
    address: SocketAddr,
    settings: Vec<String>,
    keeper: Option<Child>,
}

// === impl Server ===

impl Server {
    /// The one that the tests of this program share: each has a schema of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        // Nobody drops what is static: its folder is left to the keeper.
        SHARED.get_or_init(|| {
            let mut server = Self::make(|_| Vec::new());
            server.home.disable_cleanup(true);
            server.run_and_remove(&server.home.path().display().to_string());
            server
        })
    }

    pub(crate) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// `settings` are made with the data folder's path.
    pub(crate) fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let mut server = Self::make(settings);
        server.run();
        server
    }

    fn make(settings: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let home = tempfile::tempdir().unwrap();
        give_to_server(home.path());
        let data = home.path().join("data");
        // Letters in the order of a language, so that a store which relies on the database's order is found out.
        let made = as_server("initdb")
            .args(["--username=tidemill", "--auth=trust", "--encoding=UTF8", "--no-sync", "--locale=C"])
            .args(["--locale-provider=icu", "--icu-locale=en-US"])
            .arg(format!("--pgdata={}", data.display()))
            .current_dir(home.path())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb failed: {output}\n{}", String::from_utf8_lossy(&made.stdout));
        let settings = settings(&data);
        Self { home, address: free_address(), settings, keeper: None }
    }

    /// Starts the server on the same data and port, and waits until it answers.
    pub(crate) fn run(&mut self) {
        self.run_and_remove("");
    }

    fn run_and_remove(&mut self, remove: &str) {
        let log = std::fs::File::create(self.home.path().join("log")).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh", remove]);
        let server = as_server("postgres");
        keeper.arg(server.get_program()).args(server.get_args());
        keeper.arg("-D").arg(self.home.path().join("data"));
        let settings = [
            format!("port={}", self.address.port()),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "fsync=off".to_owned(),
        ];
        for setting in settings.iter().chain(&self.settings) {
            keeper.args(["-c", setting]);
        }
        keeper.current_dir(self.home.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        self.keeper = Some(keeper.spawn().unwrap());
        self.until("to start", |server| {
            let pidfile = std::fs::read_to_string(server.pidfile()).unwrap_or_default();
            pidfile.lines().nth(7).is_some_and(|status| status.trim() == "ready")
        });
    }

    /// Breaks all connections off and stops. What was committed is kept.
    pub(crate) fn stop(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// Keeps all of its processes from running; connections stay as they are.
    pub(crate) fn freeze(&self) {
        // The first one first, so that it starts no others.
        self.processes().into_iter().for_each(|process| kill_process(process, Signal::STOP).unwrap());
    }

    pub(crate) fn thaw(&self) {
        self.processes().into_iter().for_each(|process| kill_process(process, Signal::CONT).unwrap());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgresql://tidemill@{}/{database}", self.address)
    }

    /// A client that can do anything.
    pub(crate) async fn raw(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn processes(&self) -> Vec<Pid> {
        let first = std::fs::read_to_string(self.pidfile()).unwrap();
        let first: i32 = first.lines().next().unwrap().parse().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let children = children.split_whitespace().map(|child| child.parse().unwrap());
        [first].into_iter().chain(children).filter_map(Pid::from_raw).collect()
    }

    fn pidfile(&self) -> PathBuf {
        self.home.path().join("data/postmaster.pid")
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let ended = self.keeper.as_mut().and_then(|keeper| keeper.try_wait().unwrap());
            let log = || std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended: {}", log());
            assert!(Instant::now() < deadline, "the server takes more than {PATIENCE:?} {what}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Lets the server's user have a file or folder, if that is another one.
pub(crate) fn give_to_server(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Below the ports that the system gives to outgoing connections: one of those may be taken before the server listens, and
/// whoever tries one until it answers may end up connected with itself.
pub(crate) fn free_address() -> SocketAddr {
    let free = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(10_000..30_000))).ok();
    (0..1000).find_map(free).expect("a free port").local_addr().unwrap()
}

/// PostgreSQL refuses to run as root.
fn as_server(program: &str) -> Command {
    let program = binaries().join(program);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
    // `target/` may be below a folder that only root may enter.
    command.args(["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]);
    command.arg(program);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn binaries() -> PathBuf {
    let named = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let places = named.into_iter().chain(std::env::split_paths(&path)).chain(debian.map(|it| it.path().join("bin")));
    let has_both = |dir: &PathBuf| ["initdb", "postgres"].iter().all(|program| dir.join(program).is_file());
    places.into_iter().find(has_both).unwrap_or_else(|| {
        panic!(
            "these tests need a real PostgreSQL 15 or newer: name the folder of its `initdb` and `postgres` in POSTGRES_BIN, \
             or let `tools/postgres` get it"
        )
    })
}
