//! From a component to machine code, apart from the host.
//!
//! Compiling is the one thing that a hostile file can make arbitrarily expensive: one function of it took gigabytes and
//! minutes, others overflowed the compiler's stack, and wasmtime says in writing that this is not a security bug of its.
//! So a child process with limits of its own does it ([`child`]), and this side watches over it ([`apart`]): whatever
//! happens there, a crash, a limit, garbage, is an ordinary refusal here. A thread with a timeout was not taken: a thread
//! can be neither killed nor given a limit of memory.
//!
//! What must stay true: the parent never parses the component itself, and believes an answer only if it is complete.

mod apart;
mod child;
mod places;
mod verdict;
mod wire;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use crate::code::Code;
use crate::component::LoadError;
use crate::failure;

pub use child::compile_child;
pub(crate) use places::Places;
pub use verdict::CompileError;

/// Who compiles. Whoever builds the engine decides, because only a program that has the verb for it can be its own child.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compiler {
    /// On the thread that loads, without limits. For tests, and for components of one's own.
    #[default]
    InProcess,
    /// A child process for each component.
    Child(ChildCompiler),
}

/// How the child is started. The program calls [`compile_child`] when it gets these arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCompiler {
    /// A path; it is not searched for.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub limits: CompileLimits,
}

/// What compiling one component may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the child, in bytes.
    pub memory: u64,
    /// CPU time over all threads of the child, in whole seconds; at least one.
    pub cpu: Duration,
    /// Wall time, the start of the child included.
    pub wall: Duration,
    /// Bytes of machine code.
    pub code: u64,
}

// === impl Compiler ===

impl Compiler {
    /// Machine code of a component. Blocks until it is there or given up.
    pub(crate) fn compile(
        &self,
        engine: &wasmtime::Engine,
        component: &[u8],
        places: &Places,
    ) -> Result<Code, LoadError> {
        match self {
            Self::InProcess => in_process(engine, component),
            Self::Child(child) => {
                let _place = places.take().ok_or(CompileError::Stopped)?;
                apart::compile(child, component, places)
            }
        }
    }
}

fn in_process(engine: &wasmtime::Engine, component: &[u8]) -> Result<Code, LoadError> {
    match catch_unwind(AssertUnwindSafe(|| engine.precompile_component(component))) {
        Ok(Ok(code)) => Ok(Code::whole(code)),
        Ok(Err(why)) => Err(LoadError::Broken(format!("{why:#}"))),
        Err(panic) => Err(LoadError::Host(failure::panic_text(panic.as_ref()))),
    }
}

// === impl ChildCompiler ===

impl ChildCompiler {
    /// With the usual limits.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            limits: CompileLimits::default(),
        }
    }
}

// === impl CompileLimits ===

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            // Five times what the largest honest component (a Python interpreter of 35 MB) takes.
            memory: 3 << 30,
            // It takes tens of seconds on a slow core.
            cpu: Duration::from_secs(120),
            // Far more than the CPU time, because the child is nice to everybody else: a host that is busy must not refuse a plugin
            // that an idle one takes.
            wall: Duration::from_secs(600),
            // Machine code is about three times as large as the Wasm that it comes from, which has at most 64 MiB.
            code: 256 << 20,
        }
    }
}
