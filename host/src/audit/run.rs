//! The plugin, called with every event that its routes would take.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::{PluginConfig, RouteConfig, RuntimeConfig};
use tidemill_core::envelope;
use tidemill_core::event::Event;
use tidemill_core::grant::Grant;
use tidemill_core::json::{self, JsonLimits};
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Admin, Call, CallSettings, Commit, Handler as _, Origin, Receipt, Role};
use tidemill_core::state::StateSpace;
use tidemill_core::subject::{Subject, SubjectPattern};
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::{Engine, Plugin, Recorder, Tried};

use crate::exit::{Coded, Kind};
use crate::feed::{self, Fed};
use crate::plugins::Folder;

/// What the run showed.
pub(super) struct Ran {
    pub(super) events: usize,
    pub(super) calls: usize,
    pub(super) failures: Vec<(usize, String)>,
    pub(super) imports: Vec<String>,
    pub(super) tried: Tried,
}

/// One call to make.
struct Wanted {
    event: Event,
    origin: Origin,
    route: Arc<CallSettings>,
}

pub(super) async fn run(
    engine: &Engine,
    config: &RuntimeConfig,
    name: &PluginName,
    input: impl BufRead,
    subject: Option<&Subject>,
) -> Result<Ran> {
    let settings = config.plugins.of(name);
    let recorder = Arc::new(Recorder::new());
    let plugin = Arc::new(load(engine, config, name, &settings, &recorder)?);
    let space = StateSpace::new(name.clone(), EmbeddedBroker::in_memory() as Arc<dyn Admin>);
    let imports = plugin.describe().imports.clone();
    let mut ran = Ran { events: 0, calls: 0, failures: Vec::new(), imports, tried: Tried::default() };
    for fed in feed::read(input, subject) {
        let fed = fed.coded(Kind::BadData)?;
        ran.events += 1;
        for wanted in calls(config, name, &settings, &fed, ran.events as u64) {
            ran.calls += 1;
            let (plugin, space) = (Arc::clone(&plugin), Arc::clone(&space));
            // Guests run on their own threads, here as in a host.
            let called = engine.runtime().spawn(async move { call(&plugin, &space, wanted).await });
            if let Some(failure) = called.await.context("calling the plugin")? {
                ran.failures.push((fed.line, failure));
            }
        }
    }
    ran.tried = recorder.tried();
    Ok(ran)
}

fn load(
    engine: &Engine,
    config: &RuntimeConfig,
    name: &PluginName,
    settings: &PluginConfig,
    recorder: &Arc<Recorder>,
) -> Result<Plugin> {
    let file = Folder::new(&config.plugins.dir).read(name).coded(Kind::BadConfiguration)?;
    engine
        .load_recorded(name, &file.bytes, settings, Role::Handler, Arc::clone(recorder))
        .map_err(|why| anyhow!("`{}` {why}", file.path.display()))
        .coded(Kind::BadConfiguration)
}

/// The calls that the plugin's routes would make of one line; one call if no route names the plugin yet.
fn calls(config: &RuntimeConfig, name: &PluginName, settings: &PluginConfig, fed: &Fed, sequence: u64) -> Vec<Wanted> {
    let routes: Vec<&RouteConfig> = config.routes.iter().filter(|route| route.handler == *name).collect();
    if routes.is_empty() {
        let wanted = |event: &Event| Wanted {
            event: event.clone(),
            origin: Origin { stream: stand_in_stream(), sequence },
            route: Arc::new(open_settings(stand_in_route(), name, settings, settings.limits.timeout)),
        };
        return fed.event.iter().map(wanted).collect();
    }
    let wanted = |route: &RouteConfig| {
        let origin = Origin { stream: route.stream.clone(), sequence };
        let event = taken(route, fed, &origin)?;
        Some(Wanted {
            event,
            origin,
            route: Arc::new(open_settings(route.name.clone(), name, settings, route.timeout)),
        })
    };
    routes.into_iter().filter_map(wanted).collect()
}

/// The event, if the route takes it. Schemas are not asked: what a plugin does with a bad event is worth knowing, too.
fn taken(route: &RouteConfig, fed: &Fed, origin: &Origin) -> Option<Event> {
    let message = &fed.outgoing.message;
    if !route.subjects.iter().any(|pattern| pattern.matches(message.subject.as_str())) {
        return None;
    }
    let event = envelope::decode(&route.envelope, message, origin).ok()?;
    let data = json::parse(&event.data, &JsonLimits::default()).ok();
    let admitted = route.filter.as_ref().is_none_or(|filter| filter.admits(&event, data.as_ref()));
    admitted.then_some(event)
}

/// Like those of a host, but every subject is granted.
fn open_settings(
    route: RouteName,
    plugin: &PluginName,
    settings: &PluginConfig,
    timeout: std::time::Duration,
) -> CallSettings {
    CallSettings {
        route,
        plugin: plugin.clone(),
        max_attempts: 1,
        timeout,
        grant: Grant { emits: SubjectPattern::try_new(">").into_iter().collect() },
        limits: settings.limits.clone(),
    }
}

/// Why the call failed, if it did.
async fn call(plugin: &Plugin, space: &Arc<StateSpace>, wanted: Wanted) -> Option<String> {
    let Wanted { event, origin, route } = wanted;
    let state = plugin.uses_state().then(|| space.session());
    match plugin
        .handle(Call { event: &event, route: &route, attempt: 1, origin: &origin, state, documents: None })
        .await
    {
        Err(failure) => Some(failure.text),
        Ok(effects) => {
            if let Some(writes) = effects.state {
                // Nobody commits: submitted writes are visible to later calls, and are gone with the space.
                let receipt = Receipt::new("audit");
                space.submit(Commit { route: route.route.clone(), origin, receipt, emits: Arc::default() }, writes);
            }
            None
        }
    }
}

/// The name under which emits of a plugin without a route are told.
#[allow(clippy::expect_used, reason = "a constant that is a name")]
fn stand_in_route() -> RouteName {
    RouteName::try_new("your-route").expect("a name")
}

#[allow(clippy::expect_used, reason = "a constant that is a name")]
fn stand_in_stream() -> StreamName {
    StreamName::try_new("AUDIT").expect("a name")
}
