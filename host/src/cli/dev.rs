//! `tidemill dev`: the edit loop in one terminal. It is `tidemill run`, which builds the projects that `runtime.yaml` names
//! whenever they are saved, and says of every event what became of it.
//!
//! The builder shares nothing with the host but the plugins folder: what it puts there takes over as any other file would, with
//! its probation, and a build that fails leaves what runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::RuntimeConfig;
use tidemill_engine::Engine;
use tidemill_toolchain::{Project, Sources, missing_tools};

use super::build::{self, LOOK};
use super::{Output, compile, run};
use crate::exit::{self, Coded, Kind};
use crate::{app, files, workshop};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill dev\n  tidemill dev --feed events.jsonl")]
pub(super) struct Args {
    /// Publish the events of this file first, as `tidemill run --feed` does.
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
}

/// Builds what `runtime.yaml` names, again and again.
struct Builder {
    path: PathBuf,
    /// The text of `runtime.yaml` that is followed, or that was found to be wrong.
    text: String,
    config: RuntimeConfig,
    engine: Engine,
    projects: Vec<Followed>,
}

/// A project, and what would be a reason to build it again.
struct Followed {
    project: Project,
    /// As they were when it was built.
    sources: Sources,
    /// How many tools were missing when that failed.
    lacks: usize,
    looks: u32,
}

/// Every so many looks is looked for tools: they are asked for their versions, which starts processes.
const LOOKS_PER_TOOLS: u32 = 10;

pub(super) async fn dev(path: &Path, args: Args) -> Result<ExitCode> {
    let file = path.to_owned();
    let first = tokio::task::spawn_blocking(move || -> Result<Builder> {
        let mut builder = Builder::open(&file)?;
        builder.first();
        Ok(builder)
    });
    let builder = first.await.context("building the projects")??;
    // A thread of its own, not a task: it ends with the program, in the middle of a build if need be.
    thread::Builder::new()
        .name("builder".to_owned())
        .spawn(move || builder.watch())
        .context("starting the thread that builds")?;
    // Boxed: it is the whole host.
    Box::pin(run::run(path, Output::Text, run::Args { feed: args.feed, until_idle: false })).await
}

// === impl Builder ===

impl Builder {
    fn open(path: &Path) -> Result<Self> {
        let files::Loaded { config, text, .. } = files::load_config(path)?;
        let projects = projects(path, &config)?;
        let engine = app::engine(&config, compile::compiler())?;
        Ok(Self { path: path.to_owned(), text, config, engine, projects })
    }

    /// Follows a change of `runtime.yaml`: another project, other settings. The host tells what is wrong with the file; here it
    /// only means to go on with what was there.
    fn follow(&mut self) {
        let Ok(files::Loaded { config, text, .. }) = files::load_config(&self.path) else { return };
        if text == self.text {
            return;
        }
        self.text = text;
        let Ok(projects) = projects(&self.path, &config) else { return };
        let mut before = std::mem::take(&mut self.projects);
        self.config = config;
        for named in projects {
            let is_same = |it: &Followed| it.project.name == named.project.name && it.project.dir == named.project.dir;
            match before.iter().position(is_same) {
                Some(known) => self.projects.push(before.swap_remove(known)),
                None => {
                    self.projects.push(named);
                    self.build(self.projects.len() - 1);
                }
            }
        }
    }

    /// Everything once. A project that does not build is waited for where there is no earlier component of it: without one the
    /// host could not start.
    fn first(&mut self) {
        for at in 0..self.projects.len() {
            while !self.build(at) && !self.is_there(at) {
                tracing::info!(plugin = %self.projects[at].project.name, "There is no earlier build; waiting for a change");
                while !self.projects[at].has_changed() {
                    thread::sleep(LOOK);
                }
            }
        }
    }

    fn watch(mut self) {
        loop {
            thread::sleep(LOOK);
            self.follow();
            for at in 0..self.projects.len() {
                if self.projects[at].has_changed() {
                    self.build(at);
                }
            }
        }
    }

    fn is_there(&self, at: usize) -> bool {
        self.config.plugins.dir.join(format!("{}.wasm", self.projects[at].project.name)).is_file()
    }

    /// Whether it was built and installed.
    fn build(&mut self, at: usize) -> bool {
        let Followed { project, lacks, .. } = &mut self.projects[at];
        let settings = self.config.plugins.of(&project.name);
        let progress = |step: &str| tracing::info!(plugin = %project.name, step, "Building");
        match workshop::build(project, &self.engine, &settings, &self.config.plugins.dir, true, &progress) {
            Ok(installed) => {
                tracing::info!(plugin = %project.name, "{}", build::sentence(&installed));
                *lacks = 0;
                true
            }
            Err(error) => {
                // As it is, with the lines that the compiler printed: a field of a log line would hide them.
                exit::report(&error);
                tracing::error!(plugin = %project.name, "Not built; what runs goes on");
                *lacks = missing_tools(project).len();
                false
            }
        }
    }
}

// === impl Followed ===

impl Followed {
    /// Whether building it may end otherwise than it did: its sources have changed, or a tool has come that was missing.
    fn has_changed(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        let has_tools = self.lacks > 0
            && self.looks.is_multiple_of(LOOKS_PER_TOOLS)
            && missing_tools(&self.project).len() < self.lacks;
        build::has_changed(&self.project, &mut self.sources) || has_tools
    }
}

/// The projects that the configuration names, and how they are now.
fn projects(path: &Path, config: &RuntimeConfig) -> Result<Vec<Followed>> {
    let named = &config.plugins.projects;
    if named.is_empty() {
        let text = format!(
            "`{}` names no project to build: name the folder of a plugin's sources as `plugins.settings.<plugin>.project`; `tidemill new` begins one",
            path.display()
        );
        return Err(anyhow!(text)).coded(Kind::BadConfiguration);
    }
    let opened = named.iter().map(|(name, dir)| {
        // What the plugin is called in `runtime.yaml` is what its file must be called.
        let mut project = Project::open(dir)?;
        project.name = name.clone();
        let sources = Sources::look(&project.dir);
        Ok(Followed { project, sources, lacks: 0, looks: 0 })
    });
    opened.collect::<Result<_>>().coded(Kind::BadConfiguration)
}
