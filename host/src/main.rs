//! `tidemill`: a WebAssembly event runtime for NATS JetStream.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidemill::cli::main()
}
