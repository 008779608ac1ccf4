//! A folder with the sources of one plugin.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tidemill_core::config::manifest::{self, Language, Manifest, World};
use tidemill_core::name::PluginName;

use crate::language;

/// A plugin project.
#[derive(Debug, Clone)]
pub struct Project {
    pub dir: PathBuf,
    /// What the component's file is called.
    pub name: PluginName,
    pub language: Language,
    manifest: Manifest,
}

/// Why a folder is no plugin project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("there is no folder `{}`", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "`{}` holds no plugin project; expected one of {}; `tidemill new handler --lang LANG NAME` begins one",
        .0.display(), language::signs()
    )]
    NoProject(PathBuf),
    #[error("`{}` cannot be the name of a plugin: {why}; set `name` in {}", .dir.display(), manifest::FILE)]
    Name { dir: PathBuf, why: String },
    #[error("{0}")]
    Manifest(String),
    #[error("`{}` cannot be read: {error}", .path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
}

// === impl Project ===

impl Project {
    /// Finds out what is in a folder.
    pub fn open(dir: &Path) -> Result<Self, ProjectError> {
        if !dir.is_dir() {
            return Err(ProjectError::NoFolder(dir.to_owned()));
        }
        let manifest = read_manifest(dir)?;
        let language = manifest
            .language
            .or_else(|| language::detect(dir))
            .ok_or_else(|| ProjectError::NoProject(dir.to_owned()))?;
        let name = match &manifest.name {
            Some(name) => name.clone(),
            None => folder_name(dir)?,
        };
        Ok(Self { dir: dir.to_owned(), name, language, manifest })
    }

    /// What `plugin.yaml` says that it is for; a handler, where it says nothing.
    pub fn world(&self) -> World {
        self.manifest.world.unwrap_or_default()
    }

    /// Whether another world than [`world`](Self::world) is as good: in Rust the code says by itself what it is, and plugin.yaml may
    /// say nothing.
    pub fn is_told_by_code(&self) -> bool {
        self.manifest.world.is_none() && self.language == Language::Rust
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, ProjectError> {
    let path = dir.join(manifest::FILE);
    match fs::read_to_string(&path) {
        Ok(text) => manifest::load(&text)
            .map_err(|wrong| ProjectError::Manifest(wrong.render(&path.display().to_string()).trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Manifest::default()),
        Err(error) => Err(ProjectError::Unreadable { path, error }),
    }
}

fn folder_name(dir: &Path) -> Result<PluginName, ProjectError> {
    let unreadable = |error| ProjectError::Unreadable { path: dir.to_owned(), error };
    let full = fs::canonicalize(dir).map_err(unreadable)?;
    let name = full.file_name().unwrap_or_default().to_string_lossy();
    PluginName::try_new(&name).map_err(|why| ProjectError::Name { dir: dir.to_owned(), why: why.to_string() })
}
