//! `tidemill compile-component`: what the host starts to compile a plugin apart. Not for people, so it is not in the help.

use std::path::Path;

use tidemill_engine::{ChildCompiler, Compiler};

/// The verb's name.
pub(super) const VERB: &str = "compile-component";

/// This program, as long as it runs: also after its file was replaced or removed by an update.
const MYSELF: &str = "/proc/self/exe";

/// A child of this very program. Whoever uses the host as a library is another program, which does not know the verb; so
/// only the command line may ask for this.
pub(super) fn compiler() -> Compiler {
    let by_path = || std::env::current_exe().unwrap_or_else(|_| MYSELF.into());
    let program = if Path::new(MYSELF).exists() { MYSELF.into() } else { by_path() };
    Compiler::Child(ChildCompiler::new(program, [VERB]))
}
