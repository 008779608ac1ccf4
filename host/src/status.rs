//! How a running host stands, as text for a person and as JSON for a program. It is made in the host and shown in another
//! process, so everything here travels.

mod projections;

use std::fmt;
use std::time::SystemTime;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidemill_core::projection::{Projection, ProjectionState, ProjectionStatus};
use tidemill_core::trial::Trial;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::deployment::Deployment;
use crate::provenance::Cause;
use crate::reload::{LastReload, Reloader, Report};
use crate::summary::Summary;

pub use projections::{Details, Projections, progress, word};

/// A running host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub broker: String,
    pub configuration: String,
    pub started: String,
    pub reload: Report,
    pub plugins: Vec<PluginStatus>,
    /// What lies in the plugins folder and is not run, each with the reason.
    pub unused: Vec<String>,
    pub routes: Summary,
    pub projections: Vec<ProjectionStatus>,
}

/// A plugin in service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginStatus {
    pub name: String,
    pub state: PluginState,
    pub digest: String,
    /// Counts the builds that this process has put in service.
    pub generation: u64,
    pub since: String,
    /// Calls that this build has answered.
    pub calls: u64,
    /// Mean microseconds of a call.
    pub mean_us: u64,
    pub size: usize,
    pub world: String,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub compile_ms: u64,
    /// Whether the compiled code came from the cache.
    pub cached: bool,
    pub start_ms: u64,
    pub instances: usize,
    /// The build that stands behind one on probation.
    pub previous: Option<String>,
    /// The file in the folder, if it is another one and was refused.
    pub refused: Option<RefusedFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    Live,
    Probation,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusedFile {
    /// It ran and was rolled back: known, and no news to whoever asks for a look.
    pub quarantined: bool,
    pub digest: Option<String>,
    pub at: String,
    pub why: String,
}

// === impl Status ===

impl Status {
    /// Looks at everything that runs.
    pub async fn of(reloader: &Reloader, broker: &str, started: SystemTime) -> Self {
        let unused = reloader.unused().await.unwrap_or_else(|error| vec![format!("{error:#}")]);
        // The stores are asked without holding up a takeover.
        let view = reloader.supervisor.view();
        let projections = join_all(view.projections.iter().map(|projection| stand(projection))).await;
        let running = reloader.supervisor.running().await;
        let routes = running.routes().map(|route| (route.config.name.as_str(), route.stats.summary()));
        // Projections have a table of their own.
        let routes = Summary::of(routes, std::iter::empty());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            broker: broker.to_owned(),
            configuration: reloader.path.display().to_string(),
            started: rfc3339(started),
            reload: reloader.report(),
            plugins: running.plugins.values().map(PluginStatus::of).collect(),
            unused,
            routes,
            projections,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, pid, broker, configuration, started, reload, plugins, unused, routes, projections } = self;
        writeln!(f, "tidemill {version}, process {pid}, since {started}, {configuration}, broker {broker}")?;
        writeln!(f, "changes: {reload}\n")?;
        writeln!(f, "{}", Table(plugins))?;
        for file in unused {
            writeln!(f, "not used: {file}")?;
        }
        write!(f, "{routes}")?;
        if !projections.is_empty() {
            write!(f, "\n{}", Projections(projections))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, refused, polling, last } = self;
        let how = if *polling { "found by looking" } else { "watched" };
        write!(f, "{applied} applied, {refused} refused, {how}")?;
        if let Some(LastReload { at, ok, text }) = last {
            let word = if *ok { "applied" } else { "refused" };
            write!(f, "\nlast {word} {at}: {text}")?;
        }
        Ok(())
    }
}

/// How a projection stands; if the store does not answer, at least that.
async fn stand(projection: &Projection) -> ProjectionStatus {
    projection.status().await.unwrap_or_else(|error| ProjectionStatus {
        name: projection.config.name.to_string(),
        state: ProjectionState::Waiting { reason: error.to_string() },
        active: None,
        previous: None,
        building: None,
        rebuild: None,
        rebuild_failure: None,
        degraded: false,
    })
}

// === impl PluginStatus ===

impl PluginStatus {
    fn of(deployment: &Deployment) -> Self {
        let plugin = deployment.plugin();
        let description = plugin.describe();
        let vitals = deployment.generation().vitals();
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            name: deployment.name.to_string(),
            state: if deployment.trial().is_some_and(|trial| Trial::is_open(trial)) {
                PluginState::Probation
            } else {
                PluginState::Live
            },
            digest: deployment.digest().to_string(),
            generation: deployment.number(),
            since: rfc3339(deployment.since),
            calls: vitals.calls,
            mean_us: u64::try_from(vitals.mean().as_micros()).unwrap_or(u64::MAX),
            size: description.size,
            world: description.world(),
            imports: description.imports.clone(),
            exports: description.exports.clone(),
            compile_ms: millis(description.compile_time),
            cached: description.cached,
            start_ms: millis(description.start_time),
            instances: description.instances,
            previous: deployment.previous_digest().map(ToString::to_string),
            refused: deployment.refused.as_ref().map(|(refused, at)| RefusedFile {
                quarantined: refused.cause == Cause::Quarantine,
                digest: refused.digest.as_ref().map(ToString::to_string),
                at: rfc3339(*at),
                why: refused.why.clone(),
            }),
        }
    }

    fn state(&self) -> &'static str {
        match self.state {
            PluginState::Live => "live",
            PluginState::Probation => "probation",
        }
    }
}

/// A line per plugin, and below it the file that was refused.
pub struct Table<'a>(pub &'a [PluginStatus]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|plugin| plugin.name.len()).max().unwrap_or(0).max("plugin".len());
        writeln!(
            f,
            "{:width$}  {:9}  {:19}  {:>10}  {:>9}  {:>9}  {:>9}  {:>9}  world",
            "plugin", "state", "digest", "generation", "calls", "mean", "size", "compiled"
        )?;
        for plugin in self.0 {
            let compiled = if plugin.cached { "cached".to_owned() } else { format!("{} ms", plugin.compile_ms) };
            writeln!(
                f,
                "{:width$}  {:9}  {:19}  {:>10}  {:>9}  {:>9}  {:>9}  {:>9}  {}",
                plugin.name,
                plugin.state(),
                short(&plugin.digest),
                plugin.generation,
                plugin.calls,
                format!("{} us", plugin.mean_us),
                format!("{} KiB", plugin.size.div_ceil(1024)),
                compiled,
                plugin.world,
            )?;
            if let Some(previous) = &plugin.previous {
                writeln!(f, "  on probation beside {}", short(previous))?;
            }
            if let Some(RefusedFile { digest, at, why, .. }) = &plugin.refused {
                match digest {
                    Some(digest) => {
                        writeln!(f, "  the file in the folder ({}) is refused since {at}: {why}", short(digest))?;
                    }
                    None => writeln!(f, "  the file in the folder cannot be read since {at}: {why}")?,
                }
            }
        }
        Ok(())
    }
}

/// As much of a digest as tells builds apart.
pub fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

/// To the second.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    seconds.format(&Rfc3339).unwrap_or_default()
}
