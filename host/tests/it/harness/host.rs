//! A host that runs beside the test: what it logs, how it says that it stands, and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill::control::{self, Remote};
use tidemill::status::{PluginStatus, Status};
use tidemill_core::projection::{ProjectionState, ProjectionStatus};
use tidemill_core::stats::RouteSummary;

use super::Home;

/// Nothing here is expected to take a tenth of it; a machine under load may.
const PATIENCE: Duration = Duration::from_secs(60);

type Log = Arc<Mutex<Vec<String>>>;

/// A host that was started and may not be ready, killed when it is dropped.
pub(crate) struct Starting {
    child: Child,
    log: Log,
}

/// `tidemill run`, killed when it is dropped.
pub(crate) struct Host {
    child: Child,
    log: Log,
    runtime: tokio::runtime::Runtime,
    remote: Remote,
}

// === impl Home ===

impl Home {
    /// Starts a host and waits until it is ready.
    pub(crate) fn start(&self) -> Host {
        let started = self.try_start();
        started.unwrap_or_else(|log| panic!("the host does not become ready:\n{log}"))
    }

    /// The same, or what the host logged before it ended.
    pub(crate) fn try_start(&self) -> Result<Host, String> {
        let dir = control::socket_dir(&self.config()).to_owned();
        // Relative to the folder that the host runs in, which is not the test's.
        let dir = self.dir.path().join(dir);
        let (mut child, log) = self.launch();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = child.try_wait().unwrap().is_some();
            let lines = log.lock().unwrap().join("\n");
            if lines.contains("Tidemill is ready")
                && let Some(remote) = runtime.block_on(Remote::connect(&dir))
            {
                return Ok(Host { child, log, runtime, remote });
            }
            if ended || Instant::now() > deadline {
                child.kill().ok();
                child.wait().ok();
                thread::sleep(Duration::from_millis(50));
                return Err(log.lock().unwrap().join("\n"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a host and waits for nothing.
    pub(crate) fn begin(&self) -> Starting {
        let (child, log) = self.launch();
        Starting { child, log }
    }

    fn launch(&self) -> (Child, Log) {
        let mut command = self.command(&["--log-format", "json", "run"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        (child, log)
    }
}

fn collect(stderr: ChildStderr, log: Log) {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

fn find(log: &Log, text: &str) -> Vec<Value> {
    let log = log.lock().unwrap();
    log.iter().filter(|line| line.contains(text)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

// === impl Starting ===

impl Starting {
    /// Waits for the log line with this text, and answers it.
    pub(crate) fn until_logged(&self, text: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = find(&self.log, text).pop() {
                return line;
            }
            assert!(Instant::now() < deadline, "`{text}` is not logged:\n{}", self.log.lock().unwrap().join("\n"));
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// === impl Host ===

impl Host {
    pub(crate) fn status(&self) -> Status {
        let status = self.runtime.block_on(self.remote.status());
        status.unwrap_or_else(|error| panic!("{error}; the host logged:\n{}", self.log()))
    }

    /// The only plugin.
    pub(crate) fn plugin(&self) -> PluginStatus {
        let mut plugins = self.status().plugins;
        assert_eq!(plugins.len(), 1, "{plugins:?}");
        plugins.remove(0)
    }

    pub(crate) fn route(&self, name: &str) -> RouteSummary {
        let routes = self.status().routes.routes;
        routes.into_iter().find(|line| line.route == name).unwrap_or_else(|| panic!("no route {name}")).counts
    }

    /// Polls until the status is as wanted, and answers it.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "not {what}:\n{status}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the only plugin is as wanted, and answers it.
    pub(crate) fn until_plugin(&self, what: &str, wanted: impl Fn(&PluginStatus) -> bool) -> PluginStatus {
        self.until(what, |status| wanted(&status.plugins[0])).plugins.remove(0)
    }

    /// Waits until a route has settled so many events.
    pub(crate) fn until_done(&self, route: &str, events: usize) {
        self.until(&format!("{events} done by {route}"), |status| {
            let line = status.routes.routes.iter().find(|line| line.route == route);
            line.is_some_and(|line| line.counts.done + line.counts.skipped + line.counts.dead_lettered >= events as u64)
        });
    }

    pub(crate) fn projection(&self, name: &str) -> ProjectionStatus {
        let projections = self.status().projections;
        projections.into_iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no projection {name}"))
    }

    /// Waits until a projection is as wanted, and answers it.
    pub(crate) fn until_projection(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&ProjectionStatus) -> bool,
    ) -> ProjectionStatus {
        let find = |status: &Status| status.projections.iter().find(|one| one.name == name).cloned();
        find(&self.until(what, |status| find(status).is_some_and(|one| wanted(&one)))).unwrap()
    }

    /// Waits until a projection has folded everything that is stored, and builds no other copy.
    pub(crate) fn until_folded(&self, name: &str) -> ProjectionStatus {
        self.until_projection(name, "folded to the end", |one| {
            let active = one.active.as_ref().is_some_and(|copy| copy.lag.values().all(|lag| lag.events == 0));
            one.state == ProjectionState::Running && active && one.building.is_none()
        })
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The log lines with this text.
    pub(crate) fn logged(&self, text: &str) -> Vec<Value> {
        find(&self.log, text)
    }

    /// Waits for the `count`th log line with this text, and answers it.
    pub(crate) fn until_logged(&self, count: usize, text: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.logged(text).get(count - 1) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "`{text}` is not logged {count} times:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM, and the success that it has to end with.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}:\n{}", self.log());
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
