//! The command line. One verb per file below `cli/`; what is common to them is here.

mod build;
mod check;
mod compile;
mod config;
mod dev;
mod dlq;
mod emit;
mod invoke;
mod new;
mod plugins;
mod projection;
mod reach;
mod routes;
mod run;
mod status;
mod test;
mod version;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::exit;
use crate::telemetry::{self, Level, LogFormat};

/// The configuration where none is named.
const USUAL_CONFIG: &str = "runtime.yaml";

/// WebAssembly event runtime for NATS JetStream.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 65 bad data, 69 broker unavailable, 78 bad configuration."
)]
struct Cli {
    /// The configuration; folders in it are relative to the file. [default: runtime.yaml]
    // Not clap's default: `build` looks further where none is named, and only there.
    #[arg(short, long, global = true, value_name = "FILE", env = "TIDEMILL_CONFIG")]
    config: Option<PathBuf>,

    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,

    /// How log lines are printed.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    #[command(subcommand)]
    verb: Verb,
}

/// Text for a person, JSON for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the host.
    Run(run::Args),
    /// Begin an application: a folder with a configuration, schemas, events and a first handler.
    Init(new::InitArgs),
    /// Begin a plugin: a project in your language that builds, and whose test passes, at once.
    New(new::Args),
    /// Build plugin projects and put the components into the plugins folder.
    Build(build::Args),
    /// Run the host, build projects whenever they change, and show every event and what became of it.
    Dev(dev::Args),
    /// Check configuration, schemas and plugins without a broker; nothing is started.
    Check,
    /// Validate events and publish them.
    Emit(emit::Args),
    /// Call a plugin with one event and see what comes of it; nothing is committed.
    Invoke(invoke::Args),
    /// Run the cases of `*_test.yaml` files, in memory and in milliseconds.
    Test(test::Args),
    /// Show the routes, or why an event takes which.
    #[command(subcommand)]
    Routes(routes::Verb),
    /// List, show, redrive and discard dead letters.
    #[command(subcommand)]
    Dlq(dlq::Verb),
    /// See the plugins, find out what they need, lock their digests, roll a build back.
    #[command(subcommand)]
    Plugins(plugins::Verb),
    /// Read models: how they stand, rebuild, rollback, what is in them.
    #[command(subcommand)]
    Projection(projection::Verb),
    /// How the running host stands: changes, plugins, routes, projections.
    #[command(after_help = "Example: watch tidemill status")]
    Status,
    /// Let the running host look at configuration, schemas and plugins now, and say what came of it. SIGHUP does the same.
    #[command(after_help = "Example: tidemill reload")]
    Reload,
    /// Show the effective configuration, or the schema of the file for editors.
    #[command(subcommand)]
    Config(config::Verb),
    /// Versions of the host, its engine, and the plugin contract.
    Version,
    /// A completion script for a shell.
    #[command(after_help = "Example: tidemill completions bash > /etc/bash_completion.d/tidemill")]
    Completions { shell: clap_complete::Shell },
    #[command(name = compile::VERB, hide = true)]
    CompileComponent,
}

/// Parses, runs, reports.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verb {
        Verb::Run(_) => Level::Info,
        Verb::Dev(_) => Level::Events,
        // Cases are about what fails; a case tells it itself.
        Verb::Test(_) => Level::Error,
        _ => Level::Warn,
    };
    telemetry::start(cli.log_format, level);
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let (named, output) = (cli.config.as_deref(), cli.output);
    let config = named.unwrap_or(Path::new(USUAL_CONFIG));
    match cli.verb {
        Verb::Run(args) => block_on(run::run(config, output, args)),
        Verb::Init(args) => new::init(args),
        Verb::New(args) => new::new(config, args),
        Verb::Build(args) => build::build(named, output, args),
        Verb::Dev(args) => block_on(dev::dev(config, args)),
        Verb::Check => check::check(config, output),
        Verb::Emit(args) => block_on(emit::emit(config, output, args)),
        Verb::Invoke(args) => block_on(invoke::invoke(config, output, args)),
        Verb::Test(args) => test::test(config, output, &args),
        Verb::Routes(verb) => routes::routes(config, output, verb),
        Verb::Dlq(verb) => block_on(dlq::dlq(config, output, verb)),
        Verb::Plugins(verb) => block_on(plugins::plugins(config, output, verb)),
        Verb::Projection(verb) => block_on(projection::projection(config, output, verb)),
        Verb::Status => block_on(status::status(config, output)),
        Verb::Reload => block_on(status::reload(config, output)),
        Verb::Config(verb) => config::config(config, verb),
        Verb::Version => version::version(output),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tidemill", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Verb::CompileComponent => Ok(tidemill_engine::compile_child()),
    }
}

/// The host's own runtime: broker, timers, commits. One worker: what it does is short, and guests have threads of their own.
fn block_on(future: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("host")
        .enable_all()
        .build()
        .context("starting the host's threads")?;
    runtime.block_on(future)
}

/// Prints an answer to standard output. A reader that has gone away is no error.
fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn say_json(value: &impl serde::Serialize) -> Result<()> {
    say(serde_json::to_string_pretty(value).context("writing JSON")?);
    Ok(())
}
