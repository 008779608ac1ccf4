//! A real PostgreSQL on a free loopback port, with its default durability.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tidemill_core::config::{self, MapLookup, ReadModelsConfig};
use tidemill_core::read_model::ReadModelStore;
use tidemill_postgres::PostgresStore;

/// `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

pub(crate) struct Postgres {
    child: Child,
    port: u16,
    _home: tempfile::TempDir,
}

// === impl Postgres ===

impl Postgres {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = home.path().join("data");
        let mut initdb = program("initdb");
        initdb.args(["--username=tidemill", "--auth=trust", "-D"]).arg(&data).current_dir(&home);
        let made = initdb.stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = program("postgres");
        server.arg("-D").arg(&data).args(["-c", "unix_socket_directories=", "-c", &format!("port={port}")]);
        let server = server.current_dir(&home).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: server.spawn().unwrap(), port, _home: home };
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_ready = || {
            let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            file.lines().nth(7).is_some_and(|status| status.trim() == "ready")
        };
        while !is_ready() {
            assert!(Instant::now() < deadline, "postgres does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// A store in a schema of its own.
    pub(crate) async fn store(&self, schema: &str) -> Arc<dyn ReadModelStore> {
        let url = format!("postgresql://tidemill@127.0.0.1:{}/postgres", self.port);
        let text = format!("version: 1\nread_models: {{ postgres: {{ url: \"{url}\", schema: {schema} }} }}\n");
        let config = config::load(&text, &MapLookup::default()).unwrap();
        let ReadModelsConfig::Postgres(postgres) = &config.read_models else { panic!("another store") };
        PostgresStore::connect(postgres).await.unwrap()
    }
}

impl Drop for Postgres {
    /// Breaks off what is connected.
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::INT).ok();
        }
        self.child.wait().ok();
    }
}

fn program(name: &str) -> Command {
    let folder = std::env::var_os("POSTGRES_BIN").expect("set POSTGRES_BIN=$(tools/postgres)");
    let program = PathBuf::from(folder).join(name);
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
    // The folder of the programs may be below one that only root may enter.
    command.args(["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]).arg(program);
    command
}
