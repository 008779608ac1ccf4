//! What the configuration needs from this machine: its own text, environment, secrets, schemas and plugins.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tidemill_core::config::{self, Lookup, OnMissing, RuntimeConfig, Secret};
use tidemill_core::schema::{SchemaFile, Schemas};

use crate::exit::{Coded, Kind};
use crate::watch;

/// A schema folder deeper than this is taken for a mistake, or for a loop of links.
const MAX_SCHEMA_DEPTH: usize = 8;

/// The real environment, secrets folder and files.
pub struct Machine {
    /// Relative `${file:…}` paths and folders of the configuration start here.
    base: PathBuf,
}

/// A configuration file that was read and understood.
pub struct Loaded {
    pub path: PathBuf,
    pub text: String,
    pub config: RuntimeConfig,
}

// === impl Machine ===

impl Machine {
    pub fn for_config(path: &Path) -> Self {
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { base: base.to_owned() }
    }

    /// The path as seen from the configuration's folder, without `./` in between.
    fn beside(&self, path: &Path) -> PathBuf {
        self.base.join(path).components().filter(|part| *part != Component::CurDir).collect()
    }
}

impl Lookup for Machine {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// A secret is a file in `TIDEMILL_SECRETS_DIR` (default `./secrets` beside the configuration), as Docker and
    /// Kubernetes mount them, or the environment variable `TIDEMILL_SECRET_<NAME>`.
    fn secret(&self, name: &str) -> Result<Secret, String> {
        let variable = format!("TIDEMILL_SECRET_{}", name.replace(['.', '-'], "_").to_uppercase());
        if let Ok(value) = std::env::var(&variable) {
            return Ok(Secret::new(value));
        }
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err("a secret's name is a plain file name".to_owned());
        }
        let dir = std::env::var_os("TIDEMILL_SECRETS_DIR").map_or_else(|| self.base.join("secrets"), PathBuf::from);
        let path = dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
            Err(error) => {
                Err(format!("neither the variable `{variable}` nor the file `{}` can be read: {error}", path.display()))
            }
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.base.join(path)).map_err(|error| error.to_string())
    }
}

/// Reads and checks a configuration. Folders in it are relative to the file.
pub fn load_config(path: &Path) -> Result<Loaded> {
    load_config_by(path, &Machine::for_config(path))
}

/// The same with values of references from elsewhere.
pub fn load_config_by(path: &Path, lookup: &dyn Lookup) -> Result<Loaded> {
    let text = fs::read_to_string(path)
        .with_context(|| {
            format!("reading the configuration `{}`; name another one with `--config FILE`", path.display())
        })
        .coded(Kind::BadConfiguration)?;
    let machine = Machine::for_config(path);
    let mut config = config::load(&text, lookup)
        .map_err(|diagnostics| anyhow!("{}", diagnostics.render(&path.display().to_string())))
        .coded(Kind::BadConfiguration)?;
    config.schemas.dir = machine.beside(&config.schemas.dir);
    config.plugins.dir = machine.beside(&config.plugins.dir);
    config.plugins.cache_dir = machine.beside(&config.plugins.cache_dir);
    for project in config.plugins.projects.values_mut() {
        *project = machine.beside(project);
    }
    if let config::BrokerConfig::Embedded { dir } = &mut config.broker {
        *dir = machine.beside(dir);
    }
    if let config::ReadModelsConfig::Sqlite { dir } = &mut config.read_models {
        *dir = machine.beside(dir);
    }
    if let Some(tls) = config.http.as_mut().and_then(|http| http.tls.as_mut()) {
        for file in [&mut tls.cert_file, &mut tls.key_file].into_iter().chain(&mut tls.client_ca_file) {
            *file = machine.beside(file);
        }
    }
    Ok(Loaded { path: path.to_owned(), text, config })
}

/// Reads and compiles every `*.json` below the schemas folder.
pub fn load_schemas(config: &RuntimeConfig) -> Result<Schemas> {
    compile_schemas(config, read_schemas(config)?)
}

/// Every `*.json` below the schemas folder, in the order of their paths.
pub fn read_schemas(config: &RuntimeConfig) -> Result<Vec<SchemaFile>> {
    let dir = &config.schemas.dir;
    let mut files = Vec::new();
    if dir.exists() {
        collect_schemas(dir, dir, &mut files, 0)?;
    } else if config.schemas.on_missing == OnMissing::Reject {
        let dir = dir.display();
        let text = format!(
            "there is no schemas folder `{dir}`, and `schemas.on_missing: reject` needs one: every event would be a dead letter; correct `schemas.dir`, or set `on_missing: allow`"
        );
        return Err(anyhow!(text)).coded(Kind::BadConfiguration);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Compiles what was read; all mistakes at once.
pub fn compile_schemas(config: &RuntimeConfig, files: Vec<SchemaFile>) -> Result<Schemas> {
    let dir = &config.schemas.dir;
    Schemas::compile(files)
        .map_err(|problems| {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("error: {}/{}: {}", dir.display(), problem.path, problem.message))
                .collect();
            anyhow!("{}\n{}. Nothing was changed.", lines.join("\n"), counted(problems.len(), "unusable schema"))
        })
        .coded(Kind::BadConfiguration)
}

fn collect_schemas(root: &Path, dir: &Path, files: &mut Vec<SchemaFile>, depth: usize) -> Result<()> {
    if depth > MAX_SCHEMA_DEPTH {
        bail!("the schemas folder `{}` is nested more than {MAX_SCHEMA_DEPTH} deep", root.display());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("reading the schemas folder `{}`", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if watch::is_mount_internal(&path) {
            continue;
        }
        if path.is_dir() {
            collect_schemas(root, &path, files, depth + 1)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading the schema `{}`", path.display()))?;
            let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            files.push(SchemaFile { path: relative, text });
        }
    }
    Ok(())
}

/// `1 plugin`, `2 plugins`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
