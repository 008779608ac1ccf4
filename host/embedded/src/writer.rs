//! The one who writes: takes all jobs that wait, runs them in one transaction, syncs once, and answers everybody.
//!
//! On disk it is a thread, because a sync blocks and everybody else must not. In memory it runs inside the caller, so
//! that a test with a paused clock never waits for another thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemill_core::port::BrokerError;
use tokio::sync::oneshot;

use crate::directory::Directory;
use crate::ledger::Ledger;
use crate::log::{Log, closed, lock, unavailable};
use crate::retention;
use crate::transaction::Transaction;

/// A group that has grown to this size is written before more jobs are looked at: it bounds memory and the wait of the
/// first caller. At 300 bytes per event this is more than ten thousand events.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// How often an idle writer looks for messages that have grown too old.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Decides and writes, and then says how to answer once it is known whether the group is durable.
type Job = Box<dyn FnOnce(&mut Transaction<'_>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(&Result<(), BrokerError>) + Send>;

pub(crate) struct Writer {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer and its callers share.
struct Desk {
    log: Arc<Log>,
    ledger: Mutex<Ledger>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Jobs run in the caller.
    inline: bool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

// === impl Writer ===

impl Writer {
    /// A writer on its own thread. It holds the directory until it ends.
    pub(crate) fn start(log: Arc<Log>, ledger: Ledger, directory: Directory) -> Result<Self, BrokerError> {
        let desk = Arc::new(Desk::new(log, ledger, false));
        let theirs = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("tidemill-log".to_owned())
            .spawn(move || {
                theirs.work();
                drop(directory);
            })
            .map_err(unavailable)?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn inline(log: Arc<Log>, ledger: Ledger) -> Self {
        Self { desk: Arc::new(Desk::new(log, ledger, true)), thread: Mutex::new(None) }
    }

    /// Runs a job and waits until what it wrote is durable. Once submitted, a job runs even if the caller goes away.
    pub(crate) async fn submit<T, F>(&self, job: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Result<T, BrokerError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.desk.take(Box::new(move |tx| {
            let result = job(tx);
            Box::new(move |durable| {
                // A caller who went away is not told.
                let _ = reply.send(result.and_then(|value| durable.clone().map(|()| value)));
            })
        }));
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(self.desk.log.check().err().unwrap_or_else(closed)),
        }
    }

    /// Writes what waits, gives up the files, and ends.
    pub(crate) async fn close(&self) {
        let Some(thread) = self.begin_closing() else { return };
        // A thread that panicked has said so already, and has left the log closed.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    fn begin_closing(&self) -> Option<JoinHandle<()>> {
        lock(&self.desk.queue).closed = true;
        self.desk.arrived.notify_all();
        if self.desk.inline {
            self.desk.end();
        }
        lock(&self.thread).take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.begin_closing() {
            let _ = thread.join();
        }
    }
}

// === impl Desk ===

impl Desk {
    fn new(log: Arc<Log>, ledger: Ledger, inline: bool) -> Self {
        Self { log, ledger: Mutex::new(ledger), queue: Mutex::default(), arrived: Condvar::new(), inline }
    }

    /// Queues a job, or runs it. A closed desk drops it, which its caller notices.
    fn take(&self, job: Job) {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        if self.inline {
            drop(queue);
            self.run(&mut VecDeque::from([job]));
        } else {
            queue.jobs.push_back(job);
            drop(queue);
            self.arrived.notify_one();
        }
    }

    fn work(&self) {
        let closing = CloseOnDrop(self);
        while let Some(mut jobs) = self.wait() {
            self.run(&mut jobs);
            while !jobs.is_empty() {
                self.run(&mut jobs);
            }
        }
        drop(closing);
        self.end();
    }

    /// The jobs that wait; none when it is time to look after the streams; `None` when all is done.
    fn wait(&self) -> Option<VecDeque<Job>> {
        let ages = lock(&self.ledger).streams.iter().any(|stream| stream.settings.max_age.is_some());
        let mut queue = lock(&self.queue);
        while queue.jobs.is_empty() && !queue.closed {
            if ages {
                let waited = self.arrived.wait_timeout(queue, IDLE_TICK);
                return Some(std::mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).0.jobs));
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.jobs.is_empty() { None } else { Some(std::mem::take(&mut queue.jobs)) }
    }

    /// Runs one group: as many of the jobs as fit.
    fn run(&self, jobs: &mut VecDeque<Job>) {
        let mut ledger = lock(&self.ledger);
        let mut answers = Vec::with_capacity(jobs.len());
        let durable = self.log.check().and_then(|()| {
            self.log.read(|store| {
                let mut tx = Transaction::begin(&self.log, store, &mut ledger);
                // It can fail only because the store did, and then `apply` fails too.
                let _ = retention::tend(&mut tx);
                while let Some(job) = jobs.pop_front() {
                    answers.push(job(&mut tx));
                    if tx.bytes() >= MAX_GROUP_BYTES {
                        break;
                    }
                }
                tx.apply().map_err(|error| self.fail(&error.to_string()))
            })
        });
        drop(ledger);
        if durable.is_err() {
            // Those that did not run are dropped: their callers are told why by `submit`.
            jobs.clear();
        }
        for answer in answers {
            answer(&durable);
        }
    }

    fn fail(&self, reason: &str) -> BrokerError {
        tracing::error!(reason, "the log could not be written; nothing is acknowledged until a restart");
        self.log.break_down(reason)
    }

    /// Notes how far the routes have looked, so that a reopening does not look again, and gives up the files.
    fn end(&self) {
        let mut note: VecDeque<Job> = VecDeque::from([Box::new(note_positions) as Job]);
        self.run(&mut note);
        self.log.close();
    }
}

fn note_positions(tx: &mut Transaction<'_>) -> Answer {
    tx.note_all_moved();
    Box::new(|_| ())
}

/// Lets nobody wait for a writer that is gone, also when it panicked.
struct CloseOnDrop<'a>(&'a Desk);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.closed = true;
        queue.jobs.clear();
    }
}
