//! Zig: `src/main.zig` and what it imports, with the SDK as the module `tidemill`.

use super::Output;
use super::native::{Files, module, prefixed, target};
use crate::bench::Bench;
use crate::error::BuildError;

pub(super) const ZIG: &[&str] = &["zig"];

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let files = Files::of(bench);
    let root = files.root("main.zig")?;
    // Options before a `-M` are that module's own, so the target is said twice.
    let mut arguments = vec!["--dep".into(), "tidemill".into(), prefixed("-Mroot=", &root)];
    arguments.extend(files.sdk_arguments()?);
    arguments.extend(target(bench));
    arguments.push(prefixed("-Mtidemill=", &files.sdk()?.join("zig/tidemill.zig")));
    module(bench, arguments)
}
