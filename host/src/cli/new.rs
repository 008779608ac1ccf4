//! `tidemill new` and `tidemill init`: something to begin with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use tidemill_core::name::PluginName;
use tidemill_toolchain::{Kind, Language, NewApp, NewProject};

use super::say;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill new handler --lang rust fraud-check\n  tidemill new projection --lang python order-view --dir views/order-view"
)]
pub(super) struct Args {
    /// What it is to be.
    #[arg(value_enum)]
    kind: NewKind,

    /// The language to write it in.
    #[arg(long, value_enum)]
    lang: Lang,

    /// The plugin's name: lower case, digits and `-`. Its component will be <NAME>.wasm.
    #[arg(value_parser = PluginName::try_new)]
    name: PluginName,

    /// The folder to make. Left out: one with the plugin's name, here.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tidemill init my-shop --lang python && cd my-shop && tidemill dev --feed events.jsonl"
)]
pub(super) struct InitArgs {
    /// The folder to make.
    dir: PathBuf,

    /// The language of the first handler.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Lang,
}

/// The kinds, as clap wants to have them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NewKind {
    /// Takes events, emits events, may keep state.
    Handler,
    /// Folds events into documents that people query.
    Projection,
}

/// A language as clap wants to have it; the words are those of `plugin.yaml`.
#[derive(Debug, Clone, Copy)]
struct Lang(Language);

impl ValueEnum for Lang {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Lang; Language::ALL.len()] = {
            let mut all = [Lang(Language::Rust); Language::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Lang(Language::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.word()).help(self.0.title()))
    }
}

pub(super) fn new(config: &Path, args: Args) -> Result<ExitCode> {
    let kind = match args.kind {
        NewKind::Handler => Kind::Handler,
        NewKind::Projection => Kind::Projection,
    };
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let project = NewProject { kind, language: args.lang.0, name: args.name, dir };
    let files = project.create().map_err(|error| anyhow!(error))?;
    say(format!("`{}` is a {} in {}:", project.dir.display(), kind.word(), project.language.title()));
    for file in files {
        say(format!("  {}", file.display()));
    }
    say(format!("  {}   the SDK", project.sdk_folder()));
    say(next(&project, config));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn init(args: InitArgs) -> Result<ExitCode> {
    let app = NewApp { language: args.lang.0, dir: args.dir };
    let (files, handler) = app.create().map_err(|error| anyhow!(error))?;
    say(format!("`{}` is an application with a handler in {}:", app.dir.display(), app.language.title()));
    for file in files {
        say(format!("  {}", file.display()));
    }
    say(format!("  handlers/{}/", handler.name));
    let setup = handler.setup().map(|command| format!("\n  (cd handlers/{} && {command})", handler.name));
    say(format!(
        "\nNext:\n  cd {}{}\n  tidemill dev --feed events.jsonl",
        app.dir.display(),
        setup.unwrap_or_default()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What to type now.
fn next(project: &NewProject, config: &Path) -> String {
    let (name, dir) = (&project.name, project.dir.display());
    let setup = project.setup().map(|command| format!("\n  {command}")).unwrap_or_default();
    let declaration = match project.kind {
        Kind::Handler => format!(
            "routes:\n  - name: {name}\n    source: {{ stream: ORDERS, subjects: [\"orders.created\"] }}\n    handler: {name}\n    emits: [\"checks.done\"]"
        ),
        Kind::Projection => format!(
            "projections:\n  - name: {name}\n    sources: [{{ stream: ORDERS, subjects: [\"orders.created\"] }}]\n    plugin: {name}\n    collections: {{ orders: {{ indexes: [customer] }}, customers: {{}} }}"
        ),
    };
    format!(
        "\nNext:\n  cd {dir}{setup}\n  {test}\n  tidemill build\n\nand so that it gets events, in {config}:\n\n{declaration}",
        test = project.test_command(),
        config = config.display(),
    )
}
