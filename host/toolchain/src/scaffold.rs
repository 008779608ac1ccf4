//! `tidemill new`: a project that builds, and whose test passes, at once. `tidemill init`: a folder in which it runs.
//!
//! Templates lie in `templates/LANGUAGE/KIND` and `templates/app`, as files of what is to be. `{{name}}` (`order-view`), `{{snake}}`
//! (`order_view`) and `{{pascal}}` (`OrderView`) are replaced in their text and in their names. A name that would mean something
//! where the template lies has `.in` behind it, which goes: `Cargo.toml.in`, `.gitignore.in`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;
use tidemill_core::config::manifest::Language;
use tidemill_core::name::PluginName;

use crate::{language, sdk};

#[derive(RustEmbed)]
#[folder = "templates"]
#[exclude = "**/node_modules/**"]
#[exclude = "**/__pycache__/**"]
struct Templates;

/// What `templates/app/runtime.yaml` calls the handler in it.
const FIRST_HANDLER: &str = "order-check";

/// What a new plugin is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Handler,
    Projection,
}

/// A project that is not there yet.
#[derive(Debug, Clone)]
pub struct NewProject {
    pub kind: Kind,
    pub language: Language,
    pub name: PluginName,
    /// Must not exist, or be empty.
    pub dir: PathBuf,
}

/// A folder for an application that is not there yet: `runtime.yaml`, schemas, some events, and a first handler.
#[derive(Debug, Clone)]
pub struct NewApp {
    /// Of the first handler.
    pub language: Language,
    /// Must not exist, or be empty.
    pub dir: PathBuf,
}

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error("`{}` is there already and not empty; choose another name, or another folder with `--dir`", .0.display())]
    Occupied(PathBuf),
    #[error("`{}`: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

// === impl Kind ===

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Projection => "projection",
        }
    }
}

// === impl NewProject ===

impl NewProject {
    /// Writes the project: the template's files, and the SDK beside them. Answers the template's files.
    pub fn create(&self) -> Result<Vec<PathBuf>, NewError> {
        check_free(&self.dir)?;
        let mut written = Vec::new();
        for (path, text) in self.template() {
            write(&self.dir.join(&path), &text)?;
            written.push(path);
        }
        for (path, bytes) in sdk::of(self.language) {
            write(&self.dir.join(self.sdk_folder()).join(path), &bytes)?;
        }
        Ok(written)
    }

    /// Where the SDK lies, in the project's folder.
    pub fn sdk_folder(&self) -> &'static str {
        sdk::folder(self.language)
    }

    /// What has to be typed once before the first build, if anything.
    pub fn setup(&self) -> Option<&'static str> {
        language::setup(self.language)
    }

    /// What runs the project's tests.
    pub fn test_command(&self) -> &'static str {
        language::test_command(self.language)
    }

    /// The template's files with the project's name in them, in the order of their paths.
    fn template(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = format!("{}/{}/", self.language.word(), self.kind.word());
        template(&folder)
            .into_iter()
            .map(|(path, text)| (self.named(&path).into(), self.named(&text).into_bytes()))
            .collect()
    }

    fn named(&self, text: &str) -> String {
        let snake = self.name.as_str().replace(['-', '.'], "_");
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
        };
        let pascal: String = snake.split('_').map(capital).collect();
        text.replace("{{name}}", self.name.as_str()).replace("{{snake}}", &snake).replace("{{pascal}}", &pascal)
    }
}

// === impl NewApp ===

impl NewApp {
    /// Writes everything. Answers the files, without those of the handler's project, and the project.
    pub fn create(&self) -> Result<(Vec<PathBuf>, NewProject), NewError> {
        check_free(&self.dir)?;
        let name = PluginName::try_new(FIRST_HANDLER)
            .map_err(|error| NewError::Io { path: self.dir.clone(), error: io::Error::other(error.to_string()) })?;
        let dir = self.dir.join("handlers").join(FIRST_HANDLER);
        let handler = NewProject { kind: Kind::Handler, language: self.language, name, dir };
        let mut written = Vec::new();
        for (path, text) in template("app/") {
            write(&self.dir.join(&path), text.as_bytes())?;
            written.push(path.into());
        }
        handler.create()?;
        Ok((written, handler))
    }
}

/// A template's files, in the order of their paths.
fn template(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = Templates::iter()
        .filter_map(|path| {
            let inside = path.strip_prefix(folder)?;
            let inside = inside.strip_suffix(".in").unwrap_or(inside).to_owned();
            Some((inside, String::from_utf8_lossy(&Templates::get(&path)?.data).into_owned()))
        })
        .collect();
    files.sort();
    files
}

fn check_free(dir: &Path) -> Result<(), NewError> {
    let occupied = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file();
    if occupied { Err(NewError::Occupied(dir.to_owned())) } else { Ok(()) }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), NewError> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes));
    written.map_err(|error| NewError::Io { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(kind: Kind, language: Language, dir: &Path) -> NewProject {
        NewProject { kind, language, name: PluginName::try_new("order-view").unwrap(), dir: dir.join("order-view") }
    }

    #[test]
    fn there_is_a_template_for_every_language_and_kind() {
        let dir = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for kind in [Kind::Handler, Kind::Projection] {
                let files = new(kind, language, dir.path()).template();
                assert!(
                    files.iter().any(|(path, _)| path.ends_with("plugin.yaml")),
                    "{language:?} {kind:?}: {files:?}"
                );
                for (path, text) in files {
                    let text = String::from_utf8(text).unwrap();
                    for left in ["{{name}}", "{{snake}}", "{{pascal}}"] {
                        assert!(!text.contains(left) && !path.to_string_lossy().contains(left), "{}", path.display());
                    }
                }
            }
        }
    }

    #[test]
    fn a_new_project_is_found_as_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for kind in [Kind::Handler, Kind::Projection] {
                let project = new(kind, language, &dir.path().join(language.word()).join(kind.word()));
                project.create().unwrap();
                let found = crate::Project::open(&project.dir).unwrap();
                assert_eq!((found.language, found.name.as_str()), (language, "order-view"));
                assert_eq!(found.world().word(), kind.word());
                fs::remove_file(project.dir.join("plugin.yaml")).unwrap();
                let found = crate::Project::open(&project.dir).unwrap();
                assert_eq!(found.language, language, "without plugin.yaml");
            }
        }
    }

    #[test]
    fn what_is_there_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let project = new(Kind::Handler, Language::Rust, dir.path());
        fs::create_dir(&project.dir).unwrap();
        fs::write(project.dir.join("mine"), "mine").unwrap();
        let refused = project.create().unwrap_err();
        assert!(matches!(refused, NewError::Occupied(_)), "{refused}");
        assert_eq!(fs::read_dir(&project.dir).unwrap().count(), 1);
    }
}
