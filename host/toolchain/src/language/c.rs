//! C and C++: all of `src/*.c` and `src/*.cpp`, with the SDK.

use super::Output;
use super::native::{Files, module};
use crate::bench::Bench;
use crate::error::BuildError;

pub(super) const C: &[&str] = &["c"];
pub(super) const CPP: &[&str] = &["cpp", "cc", "cxx"];

/// There is no unwinding in WebAssembly: a C++ exception would be an abort without its message.
///
/// The library's own checks (an index behind the end of a vector, an optional without a value) Zig turns off in every release
/// build. Those that cost no more than a comparison are on. They trap without a word: with words a component would hold the path
/// of the library on the machine where it was built, and be another one on the next.
const CPP_FLAGS: &[&str] = &[
    "-std=c++20",
    "-fno-exceptions",
    "-fno-rtti",
    "-U_LIBCPP_HARDENING_MODE",
    "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST",
    "-U_LIBCPP_ASSERTION_SEMANTIC_DEFAULT",
    "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_QUICK_ENFORCE",
];

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let files = Files::of(bench);
    let (c, cpp) = (files.sources(C), files.sources(CPP));
    if c.is_empty() && cpp.is_empty() {
        return Err(BuildError::NoSource {
            what: "*.c or *.cpp",
            dir: bench.project.dir.clone(),
            hint: "sources lie in its folder `src`, or, without one, in the folder itself".to_owned(),
        });
    }
    let mut arguments = files.sdk_arguments()?;
    if !cpp.is_empty() {
        arguments.push("-lc++".into());
    }
    arguments.extend(files.compiled(&["-std=gnu17"], c));
    arguments.extend(files.compiled(CPP_FLAGS, cpp));
    module(bench, arguments)
}
