//! `tidemill dev`: the edit loop in one terminal. It is `tidemill run`, which builds the projects that `runtime.yaml` names
//! whenever they are saved, and says of every event what became of it.
//!
//! The builder shares nothing with the host but the plugins folder: what it puts there takes over as any other file would, with
//! its probation, and a build that fails leaves what runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::PluginName;
use tidemill_engine::Engine;
use tidemill_toolchain::{BuildError, Project, Sources};

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
    /// The text of `runtime.yaml` that is followed.
    text: String,
    config: RuntimeConfig,
    engine: Engine,
    projects: Vec<Followed>,
    looks: u32,
    /// What was told of a `runtime.yaml` that cannot be read; `None` while a host runs, which tells it itself.
    told: Option<String>,
}

/// A project that `runtime.yaml` names. What is in its folder is found out anew for each build: it may not be there yet, and its
/// plugin.yaml changes like any other file.
struct Followed {
    name: PluginName,
    dir: PathBuf,
    sources: Sources,
    failed: Option<Failed>,
}

/// Why a project was not built the last time.
struct Failed {
    said: String,
    /// Something that is missing on the machine, and may come without a change of the project.
    lacks: bool,
}

/// What is missing is looked for once in so many looks: tools are asked for their versions, which starts processes.
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
        if config.plugins.projects.is_empty() {
            let text = format!(
                "`{}` names no project to build: name the folder of a plugin's sources as `plugins.settings.<plugin>.project`; `tidemill new` begins one",
                path.display()
            );
            return Err(anyhow!(text)).coded(Kind::BadConfiguration);
        }
        let engine = app::engine(&config, compile::compiler())?;
        let projects = projects(&config).collect();
        Ok(Self { path: path.to_owned(), text, config, engine, projects, looks: 0, told: Some(String::new()) })
    }

    /// Everything once. A project that does not build is waited for where there is no earlier component of it: without one the
    /// host could not start.
    fn first(&mut self) {
        for at in 0..self.projects.len() {
            let followed = &mut self.projects[at];
            followed.sources = Sources::look(&followed.dir);
            self.build(at);
        }
        let mut told = Vec::new();
        loop {
            let awaited = self.awaited();
            if awaited.is_empty() {
                self.told = None;
                return;
            }
            if awaited != told {
                for name in &awaited {
                    tracing::info!(plugin = %name, "There is no earlier build; waiting for a change");
                }
                told = awaited;
            }
            self.look();
        }
    }

    fn watch(mut self) {
        loop {
            self.look();
        }
    }

    /// Waits a moment, then builds what may end otherwise than it did.
    fn look(&mut self) {
        thread::sleep(LOOK);
        self.looks = self.looks.wrapping_add(1);
        self.follow();
        for at in 0..self.projects.len() {
            if self.is_due(at) {
                self.build(at);
            }
        }
    }

    /// Follows a change of `runtime.yaml`: another project, other settings. What is wrong with the file means to go on with what
    /// was there.
    fn follow(&mut self) {
        let files::Loaded { config, text, .. } = match files::load_config(&self.path) {
            Ok(loaded) => loaded,
            Err(error) => {
                let said = format!("{error:#}");
                if let Some(told) = self.told.as_mut().filter(|told| **told != said) {
                    exit::report(&error);
                    *told = said;
                }
                return;
            }
        };
        if text == self.text {
            return;
        }
        let mut before = std::mem::take(&mut self.projects);
        for named in projects(&config) {
            let known = before.iter().position(|it| it.name == named.name && it.dir == named.dir);
            self.projects.push(known.map_or(named, |known| before.swap_remove(known)));
        }
        (self.text, self.config) = (text, config);
        for followed in &mut self.projects {
            // What was refused because of its settings may do now: it is as good as changed.
            if followed.failed.take().is_some() {
                followed.sources = Sources::default();
            }
        }
    }

    fn is_due(&mut self, at: usize) -> bool {
        let Followed { dir, sources, failed, .. } = &mut self.projects[at];
        if build::has_changed(dir, sources) {
            *failed = None;
            return true;
        }
        self.looks.is_multiple_of(LOOKS_PER_TOOLS) && failed.as_ref().is_some_and(|failed| failed.lacks)
    }

    /// The plugins without which the host could not start.
    fn awaited(&self) -> Vec<PluginName> {
        let is_there = |name: &PluginName| self.config.plugins.dir.join(format!("{name}.wasm")).is_file();
        self.projects.iter().map(|followed| followed.name.clone()).filter(|name| !is_there(name)).collect()
    }

    fn build(&mut self, at: usize) {
        let Followed { name, dir, failed, .. } = &mut self.projects[at];
        let settings = self.config.plugins.of(name);
        let progress = |step: &str| tracing::info!(plugin = %name, step, "Building");
        let built = open(name, dir).and_then(|project| {
            workshop::build(&project, &self.engine, &settings, &self.config.plugins.dir, true, &progress)
        });
        match built {
            Ok(installed) => {
                tracing::info!(plugin = %name, "{}", build::sentence(&installed));
                *failed = None;
            }
            Err(error) => {
                let said = format!("{error:#}");
                if failed.as_ref().is_none_or(|before| before.said != said) {
                    // As it is, with the lines that the compiler printed: a field of a log line would hide them.
                    exit::report(&error);
                    tracing::error!(plugin = %name, "Not built; what runs goes on");
                }
                let lacks = error.downcast_ref::<BuildError>().is_some_and(BuildError::is_of_the_machine);
                *failed = Some(Failed { said, lacks });
            }
        }
    }
}

/// The projects that the configuration names, not built yet.
fn projects(config: &RuntimeConfig) -> impl Iterator<Item = Followed> {
    config.plugins.projects.iter().map(|(name, dir)| Followed {
        name: name.clone(),
        dir: dir.clone(),
        sources: Sources::default(),
        failed: None,
    })
}

/// What the plugin is called in `runtime.yaml` is what its file must be called.
fn open(name: &PluginName, dir: &Path) -> Result<Project> {
    let mut project = Project::open(dir)?;
    project.name = name.clone();
    Ok(project)
}
