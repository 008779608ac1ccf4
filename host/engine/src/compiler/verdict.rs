//! How a child ended, in words: the code, or why there is none.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::{CompileLimits, child::exit, wire};
use crate::code::Code;
use crate::component::LoadError;

/// Why a component was not compiled although nothing is known to be wrong with it. Each text completes the sentence
/// "the file …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("could not be compiled, because the compiler `{program}` cannot be started: {why}")]
    NoCompiler { program: String, why: String },
    #[error("took more than {limit:?} to compile and was given up; {BOMB}")]
    Time { limit: Duration },
    #[error("took more than {limit:?} of CPU time to compile and was given up; {BOMB}")]
    Cpu { limit: Duration },
    #[error("needs more than {} MiB of memory to compile; {BOMB}", .limit >> 20)]
    Memory { limit: u64 },
    #[error("becomes more than {} MiB of machine code; {BOMB}", .limit >> 20)]
    CodeSize { limit: u64 },
    #[error("made the compiler crash ({how}){}; nothing else was harmed; {BOMB}", after_colon(.said))]
    Crashed { how: String, said: String },
    #[error("could not be compiled, because the compiler answered with {0}; this is a defect of Tidemill")]
    Garbled(String),
    #[error("was not compiled, because the host is stopping")]
    Stopped,
}

const BOMB: &str = "honest components stay far below, so have it built with smaller functions, or split it";

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What the Rust runtime says when memory is refused, before it aborts.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of", "Cannot allocate memory"];

/// The code that a child which has ended left behind.
pub(super) fn judge(
    status: ExitStatus,
    answer: Vec<u8>,
    said: String,
    limits: &CompileLimits,
) -> Result<Code, LoadError> {
    if status.success() {
        return wire::open_answer(answer).map_err(|found| CompileError::Garbled(found).into());
    }
    if OUT_OF_MEMORY.iter().any(|sign| said.contains(sign)) {
        return Err(CompileError::Memory { limit: limits.memory }.into());
    }
    if status.code() == Some(exit::BROKEN.into()) {
        return Err(LoadError::Broken(said));
    }
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(CompileError::Cpu { limit: limits.cpu }.into());
    }
    Err(CompileError::Crashed { how: how(status), said }.into())
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => match SIGNALS.iter().find(|(known, _)| known.as_raw() == signal) {
            Some((_, name)) => name.to_string(),
            None => format!("signal {signal}"),
        },
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

const SIGNALS: [(Signal, &str); 7] = [
    (Signal::SEGV, "SIGSEGV, an access to memory that it does not have"),
    (Signal::BUS, "SIGBUS, an access to memory that it does not have"),
    (Signal::ABORT, "SIGABRT, it gave up by itself"),
    (Signal::ILL, "SIGILL, an impossible instruction"),
    (Signal::FPE, "SIGFPE, an impossible calculation"),
    (Signal::KILL, "SIGKILL, which the kernel sends when the machine is out of memory"),
    (Signal::TERM, "SIGTERM, somebody ended it"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(raw: i32, said: &str) -> String {
        let limits = CompileLimits::default();
        judge(ExitStatus::from_raw(raw), Vec::new(), said.to_owned(), &limits).err().unwrap().to_string()
    }

    #[test]
    fn every_end_of_the_child_is_said_in_words() {
        for (raw, said, beginning) in [
            (
                65 << 8,
                "unexpected end",
                "is damaged, incomplete, or needs a WebAssembly feature that is switched off: un",
            ),
            (24, "", "took more than 120s of CPU time to compile"),
            (6, "memory allocation of 99 bytes failed", "needs more than 3072 MiB of memory to compile"),
            (11, "", "made the compiler crash (SIGSEGV, an access to memory that it does not have); nothing else"),
            (
                70 << 8,
                "index out of bounds",
                "made the compiler crash (exit code 70): index out of bounds; nothing else",
            ),
            (0, "", "could not be compiled, because the compiler answered with 0 bytes that are not an answer"),
        ] {
            let text = judged(raw, said);
            assert!(text.starts_with(beginning), "{text}");
        }
    }
}
