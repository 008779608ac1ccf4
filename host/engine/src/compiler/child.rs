//! What the child process does: bind itself, read a component, compile it, write the code.
//!
//! The limits come first, before a byte of the component is read. They are set by the child itself, because setting them
//! between `fork` and `exec` would need unsafe code. Without a pool of instances: its terabyte of addresses does not fit
//! the limit, and how instances are allocated is no part of the code.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

use super::wire::{Ask, answer_header};
use crate::settings;

/// The compiler recurses on what the component nests; what is deeper than this stack ends the child.
const STACK_BYTES: usize = 16 << 20;

/// Below what serves events.
const NICE: i32 = 10;

/// CPU seconds between the signal that says why and the one that cannot be ignored.
const CPU_GRACE: u64 = 5;

/// How the child ends, besides success and the signals of a crash.
pub(super) mod exit {
    /// The component cannot be compiled; standard error says why.
    pub(crate) const BROKEN: u8 = 65;
    /// The compiler itself failed; standard error says why.
    pub(crate) const FAILED: u8 = 70;
}

/// The whole life of a child process that [`Compiler::Child`](crate::Compiler) starts: reads a component from standard
/// input and writes its machine code to standard output. Binds the process to limits from which there is no way back, so
/// it must be all that the process does.
pub fn compile_child() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unfit { code, why }) => {
            // Nobody is left to read it if this fails.
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(code)
        }
    }
}

struct Unfit {
    code: u8,
    why: String,
}

fn failed(why: impl std::fmt::Display) -> Unfit {
    Unfit { code: exit::FAILED, why: why.to_string() }
}

fn run() -> Result<(), Unfit> {
    let mut stdin = std::io::stdin().lock();
    let ask = Ask::read(&mut stdin).map_err(failed)?;
    bind(&ask).map_err(|why| failed(format!("the limits of the compiler cannot be set: {why}")))?;
    let component = read_component(&mut stdin, ask.length).map_err(failed)?;
    let code = compile(component)?;
    // Standard output itself would look for line ends in the code.
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let mut stdout = File::from(stdout);
    stdout.write_all(&answer_header(&code)).and_then(|()| stdout.write_all(&code)).map_err(failed)
}

fn read_component(from: &mut impl Read, length: u64) -> std::io::Result<Vec<u8>> {
    let mut component = Vec::new();
    from.take(length).read_to_end(&mut component)?;
    if component.len() as u64 == length { Ok(component) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// Limits, and nothing that could outlive the parent or write down what it works on.
fn bind(ask: &Ask) -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::As, ask.memory, ask.memory)?;
    limit(Resource::Cpu, ask.cpu, ask.cpu.saturating_add(CPU_GRACE))?;
    rustix::process::nice(NICE)?;
    Ok(())
}

/// A limit that is stricter already stays.
fn limit(resource: Resource, soft: u64, hard: u64) -> rustix::io::Result<()> {
    let before = rustix::process::getrlimit(resource);
    let hard = before.maximum.map_or(hard, |known| known.min(hard));
    let soft = before.current.map_or(soft, |known| known.min(soft)).min(hard);
    rustix::process::setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
}

fn compile(component: Vec<u8>) -> Result<Vec<u8>, Unfit> {
    let work = move || {
        let engine = settings::compiling().map_err(|why| failed(format!("{why:#}")))?;
        let code = engine.precompile_component(&component);
        code.map_err(|why| Unfit { code: exit::BROKEN, why: format!("{why:#}") })
    };
    let thread = std::thread::Builder::new().name("compiler".to_owned()).stack_size(STACK_BYTES).spawn(work);
    // What the panic was is on standard error already.
    thread.map_err(failed)?.join().unwrap_or_else(|_| Err(failed("the compiler panicked")))
}
