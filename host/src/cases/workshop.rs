//! What all cases of a run share: the configuration, the schemas, the engine and the compiled plugins.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::cases::{Case, GivenPlugin, Tested};
use tidemill_core::config::{Lookup, PluginConfig, RuntimeConfig, Secret};
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_core::schema::Schemas;
use tidemill_engine::{Engine, Plugin};

use crate::exit::{Coded, Kind};
use crate::files::Machine;
use crate::plugins::Folder;

/// The machine as cases see it: no secret is ever read. Each is a text that says which one it stands for.
pub struct TestMachine(Machine);

/// Everything that is made once.
pub struct Workshop {
    pub engine: Engine,
    pub config: RuntimeConfig,
    pub schemas: Arc<Schemas>,
    loaded: Vec<Loaded>,
}

/// A plugin, and the settings that it was loaded with: a case may have others.
struct Loaded {
    name: PluginName,
    settings: PluginConfig,
    plugin: Arc<Plugin>,
}

// === impl TestMachine ===

impl TestMachine {
    pub fn for_config(path: &Path) -> Self {
        Self(Machine::for_config(path))
    }
}

impl Lookup for TestMachine {
    fn env(&self, name: &str) -> Option<String> {
        self.0.env(name)
    }

    fn secret(&self, name: &str) -> Result<Secret, String> {
        Ok(Secret::new(format!("secret:{name}")))
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.0.file(path)
    }
}

// === impl Workshop ===

impl Workshop {
    pub fn new(engine: Engine, config: RuntimeConfig, schemas: Schemas) -> Self {
        Self { engine, config, schemas: Arc::new(schemas), loaded: Vec::new() }
    }

    /// Loads every plugin that the cases need, so that one that cannot be used is told before anything runs. As many at a time
    /// as there are cores: what is not in the cache is compiled, by processes of their own.
    pub fn prepare<'c>(&mut self, cases: impl Iterator<Item = &'c Case>) -> Result<()> {
        let mut wanted: Vec<(PluginName, PluginConfig, Role)> = Vec::new();
        for case in cases {
            for (name, role) in self.needed(case) {
                let one = (name.clone(), self.settings(name, case), role);
                if !wanted.contains(&one) {
                    wanted.push(one);
                }
            }
        }
        let next = AtomicUsize::new(0);
        let load_the_rest = || {
            let next = || wanted.get(next.fetch_add(1, Ordering::Relaxed));
            iter::from_fn(next).map(|(name, settings, role)| self.load(name, settings, *role)).collect::<Vec<_>>()
        };
        let loaded: Vec<Result<Loaded>> = thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(load_the_rest)).collect();
            let loaded = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            loaded.flatten().collect()
        });
        self.loaded = loaded.into_iter().collect::<Result<_>>()?;
        Ok(())
    }

    fn load(&self, name: &PluginName, settings: &PluginConfig, role: Role) -> Result<Loaded> {
        let file = Folder::new(&self.config.plugins.dir).read(name).coded(Kind::BadConfiguration)?;
        let plugin = self.engine.load(name, &file.bytes, settings, role);
        let plugin = plugin.map_err(|why| anyhow!("`{}` {why}", file.path.display())).coded(Kind::BadConfiguration)?;
        Ok(Loaded { name: name.clone(), settings: settings.clone(), plugin: Arc::new(plugin) })
    }

    fn needed(&self, case: &Case) -> Vec<(&PluginName, Role)> {
        let used = self.config.used_plugins();
        match &case.subject {
            Tested::Plugin { plugin, .. } => used.into_iter().filter(|(name, _)| *name == plugin).collect(),
            Tested::Runtime { only } => {
                let wanted = |name: &str| only.as_ref().is_none_or(|only| only.iter().any(|it| it == name));
                let routes = self.config.routes.iter().filter(|route| wanted(route.name.as_str()));
                let projections = self.config.projections.iter().filter(|it| wanted(it.name.as_str()));
                let handlers = routes.map(|route| (&route.handler, Role::Handler));
                handlers.chain(projections.map(|it| (&it.plugin, Role::Projection))).collect()
            }
        }
    }

    /// The settings of a plugin as a case changes them.
    pub fn settings(&self, plugin: &PluginName, case: &Case) -> PluginConfig {
        let mut settings = self.config.plugins.of(plugin);
        if let Some(GivenPlugin { config, secrets, .. }) = case.plugins.get(plugin) {
            settings.config.extend(config.clone());
            settings.secrets.extend(secrets.iter().map(|(name, text)| (name.clone(), Secret::new(text.as_str()))));
        }
        settings
    }

    /// A plugin with these settings. It was [prepared](Self::prepare).
    pub fn plugin(&self, name: &PluginName, settings: &PluginConfig) -> Result<Arc<Plugin>> {
        let loaded = self.loaded.iter().find(|one| one.name == *name && one.settings == *settings);
        let loaded = loaded.with_context(|| format!("the plugin `{name}` was not loaded"))?;
        Ok(Arc::clone(&loaded.plugin))
    }
}
