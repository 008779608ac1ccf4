//! The parent's side: starts a child, gives it the component, listens, and ends it when it takes too much.
//!
//! One thread talks over three pipes that never block, so that neither a child that does not read nor one that does not
//! write holds it up, and so that the time limit needs no second thread. However this function is left, the child is gone
//! afterwards; when the whole host dies, the kernel ends the child (see `child`).

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use tidemill_core::text::clean_text;

use super::wire::{self, ANSWER_BYTES, Ask};
use super::{ChildCompiler, CompileError, Places, verdict};
use crate::code::Code;
use crate::component::LoadError;

/// How often it is looked whether compiling was called off, or the child has ended with its pipes still open.
const LOOK: Duration = Duration::from_millis(50);

/// The same after the child has said everything: its end is near.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// What is kept of the child's standard error.
const MAX_SAID_BYTES: usize = 4 << 10;

/// What is shown of it.
const MAX_SHOWN_BYTES: usize = 1 << 10;

/// Machine code of a component, made by a child.
pub(super) fn compile(with: &ChildCompiler, component: &[u8], places: &Places) -> Result<Code, LoadError> {
    let deadline = Instant::now() + with.limits.wall;
    let most = with.limits.code.saturating_add(ANSWER_BYTES as u64);
    let ask = Ask::new(&with.limits, component.len()).to_bytes();
    let mut talk = Talk::start(with, &ask, component)?;
    let status = loop {
        if let Some(status) = talk.turn() {
            break status;
        }
        if places.is_stopped() {
            return Err(CompileError::Stopped.into());
        }
        if talk.answer_is_longer_than(most) {
            return Err(CompileError::CodeSize { limit: with.limits.code }.into());
        }
        if Instant::now() >= deadline {
            return Err(CompileError::Time { limit: with.limits.wall }.into());
        }
    };
    let said = clean_text(String::from_utf8_lossy(&talk.said).trim(), MAX_SHOWN_BYTES);
    verdict::judge(status, std::mem::take(&mut talk.answer), said, &with.limits)
}

/// A running child and what was said so far. Dropping it ends the child.
struct Talk<'a> {
    child: Child,
    /// `None` once everything is said.
    stdin: Option<ChildStdin>,
    to_say: [&'a [u8]; 2],
    /// `None` once the child has closed it.
    stdout: Option<ChildStdout>,
    answer: Vec<u8>,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
    ended: bool,
}

// === impl Talk ===

impl<'a> Talk<'a> {
    fn start(with: &ChildCompiler, ask: &'a [u8], component: &'a [u8]) -> Result<Self, CompileError> {
        let no_compiler = |why: std::io::Error| CompileError::NoCompiler {
            program: with.program.display().to_string(),
            why: why.to_string(),
        };
        let mut child = command(with).spawn().map_err(no_compiler)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // From here on the child is ended when something fails.
        let talk = Self {
            child,
            stdin,
            to_say: [ask, component],
            stdout,
            answer: Vec::new(),
            stderr,
            said: Vec::new(),
            ended: false,
        };
        talk.never_block().map_err(|why| no_compiler(why.into()))?;
        Ok(talk)
    }

    fn never_block(&self) -> rustix::io::Result<()> {
        self.stdin.iter().try_for_each(|pipe| rustix::io::ioctl_fionbio(pipe, true))?;
        self.stdout.iter().try_for_each(|pipe| rustix::io::ioctl_fionbio(pipe, true))?;
        self.stderr.iter().try_for_each(|pipe| rustix::io::ioctl_fionbio(pipe, true))
    }

    /// Waits until something can be said or heard, at most for a [`LOOK`], and does it. The status once the child has ended.
    fn turn(&mut self) -> Option<ExitStatus> {
        self.wait();
        self.say();
        // Asked before listening: what an ended child has said is heard to the end.
        let status = self.child.try_wait().ok().flatten();
        listen(&mut self.stdout, &mut self.answer);
        listen(&mut self.stderr, &mut self.said);
        let surplus = self.said.len().saturating_sub(MAX_SAID_BYTES);
        self.said.drain(..surplus);
        self.ended = status.is_some();
        status
    }

    fn wait(&self) {
        let mut pipes = Vec::with_capacity(3);
        pipes.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        pipes.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        pipes.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let look = if self.stdout.is_none() && self.stderr.is_none() { LAST_LOOK } else { LOOK };
        let look = Timespec { tv_sec: 0, tv_nsec: look.subsec_nanos().into() };
        // An interrupted wait is a short one.
        let _ = rustix::event::poll(&mut pipes, Some(&look));
    }

    fn say(&mut self) {
        while let Some(pipe) = &mut self.stdin {
            let Some(part) = self.to_say.iter_mut().find(|part| !part.is_empty()) else {
                self.stdin = None;
                return;
            };
            match pipe.write(part) {
                Ok(written) => *part = &part[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It does not listen any more; how it ends says why.
                Err(_) => self.stdin = None,
            }
        }
    }

    /// By what has come, or by what the child announces to send.
    fn answer_is_longer_than(&mut self, most: u64) -> bool {
        let announced = wire::announced(&self.answer).unwrap_or(0);
        if announced.max(self.answer.len() as u64) > most {
            return true;
        }
        let missing = announced.saturating_sub(self.answer.len() as u64);
        self.answer.reserve_exact(usize::try_from(missing).unwrap_or(0));
        false
    }
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The group, so that nothing that the child may have started stays either. What fails here is gone already.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// At most this much per turn, so that a flood is noticed before it fills the memory.
const MOST_PER_TURN: usize = 1 << 20;

/// Takes what is there without waiting for more.
fn listen(pipe: &mut Option<impl Read>, heard: &mut Vec<u8>) {
    let mut part = [0; 64 << 10];
    let mut taken = 0;
    while let Some(open) = pipe {
        match open.read(&mut part) {
            Ok(0) => *pipe = None,
            Ok(length) => {
                heard.extend_from_slice(&part[..length]);
                taken += length;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
        if taken >= MOST_PER_TURN {
            return;
        }
    }
}

/// The child's process: nothing of the host's environment, a group of its own, no folder held.
fn command(with: &ChildCompiler) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(&with.program);
    command
        .args(&with.arguments)
        .arg0("tidemill")
        .env_clear()
        // One core stays for events.
        .env("RAYON_NUM_THREADS", cores.saturating_sub(1).max(1).to_string())
        // Functions are compiled on rayon's threads, which recurse as deeply as the first.
        .env("RUST_MIN_STACK", (8 << 20).to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
