//! `tidemill build`: from sources to a component in the plugins folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;
use tidemill_core::config::RuntimeConfig;
use tidemill_engine::{Engine, EngineOptions};
use tidemill_toolchain::{Project, Sources};

use super::{Output, USUAL_CONFIG, compile, say, say_json};
use crate::exit::{self, Coded, Kind};
use crate::workshop::{self, Installed};
use crate::{app, files};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill build\n  tidemill build handlers/fraud-check handlers/welcome-mailer\n  tidemill build --watch\n  tidemill build --out dist"
)]
pub(super) struct Args {
    /// Folders with plugin projects. What is in a folder tells its language.
    #[arg(default_value = ".")]
    projects: Vec<PathBuf>,

    /// Where components go. Left out: the plugins folder of `runtime.yaml`, which is looked for from the project's folder upwards.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Keep debug information, so that backtraces name files and lines. Larger.
    #[arg(long)]
    debug: bool,

    /// Build again whenever a file of a project changes.
    #[arg(long)]
    watch: bool,
}

/// How often `--watch` looks. Shorter than a person notices.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Where components go, and who judges them.
struct Place {
    engine: Engine,
    dir: PathBuf,
    /// `None`: there is no `runtime.yaml`, and so no settings.
    config: Option<RuntimeConfig>,
}

pub(super) fn build(config: Option<&Path>, output: Output, args: Args) -> Result<ExitCode> {
    let projects: Vec<Project> =
        args.projects.iter().map(|dir| Project::open(dir)).collect::<Result<_, _>>().coded(Kind::BadData)?;
    let place = Place::find(config, &projects, args.out)?;
    // Looked at before building: what is saved meanwhile is built again.
    let mut watched: Vec<(PathBuf, Sources)> =
        projects.iter().map(|project| (project.dir.clone(), Sources::look(&project.dir))).collect();
    let mut code = ExitCode::SUCCESS;
    for project in projects {
        if let Err(error) = place.build(project, args.debug, output) {
            code = exit::report(&error);
        }
    }
    if !args.watch {
        return Ok(code);
    }
    say("Waiting for changes; Ctrl-C ends it.");
    loop {
        thread::sleep(LOOK);
        for (dir, before) in &mut watched {
            if !has_changed(dir, before) {
                continue;
            }
            // Opened anew: its plugin.yaml may be what has changed.
            let opened = Project::open(dir).map_err(anyhow::Error::from);
            if let Err(error) = opened.and_then(|project| place.build(project, args.debug, output)) {
                exit::report(&error);
            }
        }
    }
}

/// Whether a project has changed since the last look, and whoever saves it is done.
pub(super) fn has_changed(dir: &Path, before: &mut Sources) -> bool {
    let now = Sources::look(dir);
    if now == *before {
        return false;
    }
    // Whoever saves several files is not done with the first one.
    thread::sleep(LOOK / 4);
    let settled = now == Sources::look(dir);
    if settled {
        *before = now;
    }
    settled
}

// === impl Place ===

impl Place {
    fn find(config: Option<&Path>, projects: &[Project], out: Option<PathBuf>) -> Result<Self> {
        let config = match configuration(config, projects) {
            Some(path) => Some(files::load_config(&path)?.config),
            None => None,
        };
        let dir = match (out, &config) {
            (Some(out), _) => out,
            (None, Some(config)) => config.plugins.dir.clone(),
            (None, None) => {
                let text = "there is no runtime.yaml here or above the project, so nobody says where components go; name it with `--config FILE`, or a folder with `--out DIR`";
                return Err(anyhow!(text)).coded(Kind::BadConfiguration);
            }
        };
        let engine = match &config {
            Some(config) => app::engine(config, compile::compiler())?,
            None => Engine::new(EngineOptions { compiler: compile::compiler(), ..EngineOptions::default() })?,
        };
        Ok(Self { engine, dir, config })
    }

    fn build(&self, project: Project, debug: bool, output: Output) -> Result<()> {
        let project = &self.named(project);
        let settings = self.config.as_ref().map(|config| config.plugins.of(&project.name)).unwrap_or_default();
        let progress = |step: &str| {
            if output == Output::Text {
                say(format!("{}: {step}", project.name));
            }
        };
        let installed = workshop::build(project, &self.engine, &settings, &self.dir, debug, &progress)?;
        if output == Output::Json {
            return say_json(&as_json(project, &installed));
        }
        say(format!("{}: {}", project.name, sentence(&installed)));
        if !self.uses(project) {
            say(format!("{}: no route and no projection of runtime.yaml names it yet", project.name));
        }
        Ok(())
    }

    /// Under the name that `runtime.yaml` gives to its folder, if that has one there.
    fn named(&self, mut project: Project) -> Project {
        let dir = |dir: &Path| dir.canonicalize().ok();
        let named = self.config.as_ref().map(|config| &config.plugins.projects).into_iter().flatten();
        let mut same = named.filter(|(_, named)| dir(named).is_some_and(|named| Some(named) == dir(&project.dir)));
        if let Some((name, _)) = same.next() {
            project.name = name.clone();
        }
        project
    }

    /// Whether a host with this configuration would call it. Unknown is as good as yes.
    fn uses(&self, project: &Project) -> bool {
        self.config.as_ref().is_none_or(|config| config.used_plugins().contains_key(&project.name))
    }
}

/// `handler@0.2.0, 140 KiB, sha256:1469e1e5b380, built in 3.2 s: plugins/fraud-check.wasm`.
pub(super) fn sentence(installed: &Installed) -> String {
    let Installed { path, description, took } = installed;
    format!(
        "{}, {} KiB, {}, built in {:.1} s: {}",
        description.world(),
        description.size.div_ceil(1024),
        short(&description.digest),
        took.as_secs_f64(),
        path.display()
    )
}

fn as_json(project: &Project, installed: &Installed) -> serde_json::Value {
    let Installed { path, description, took } = installed;
    json!({
        "plugin": project.name.as_str(), "language": project.language.word(), "world": description.world(), "bytes": description.size,
        "digest": description.digest, "imports": description.imports, "path": path, "seconds": took.as_secs_f64(),
    })
}

/// As many digits of a digest as people compare.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

/// The configuration that the projects belong to: the one that is named, be it there or not; else the one here; else the nearest
/// above the first of them that nobody else has put there.
fn configuration(named: Option<&Path>, projects: &[Project]) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let here = Path::new(USUAL_CONFIG);
    if here.is_file() {
        return Some(here.to_owned());
    }
    let dirs = tidemill_toolchain::own_ancestors(&projects.first()?.dir);
    dirs.into_iter().map(|dir| dir.join(USUAL_CONFIG)).find(|file| file.is_file())
}
