//! `tidemill new`: a project that builds, and whose test passes, at once. `tidemill init`: a folder in which it runs.
//!
//! Templates lie in `templates/LANGUAGE/KIND` and `templates/app`, as files of what is to be. `{{name}}` is what the plugin is called;
//! `{{package}}` (`order-view`), `{{snake}}` (`order_view`) and `{{pascal}}` (`OrderView`) are what its package, its module and its
//! type are called. They are replaced in the files' text and in their names. A name that would mean something where the template
//! lies has `.in` behind it, which goes: `Cargo.toml.in`, `.gitignore.in`.
//!
//! A plugin may be called `2fa`, `json` or `type`, and no language takes all of these for a module or a type. Lists of what each
//! language takes would have to follow it. So what is more than one word stays, and what is one word gets the kind behind it, as
//! people name such things anyway (`json_handler`, `TypeHandler`): keywords, and the modules that everybody has, are one word.

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

/// The modules of more than one word that Python and componentize-py have: a module of a project that is called so would hide one.
const PYTHON_MODULES: &[&str] = &[
    "componentize_py_async_support",
    "componentize_py_runtime",
    "componentize_py_types",
    "poll_loop",
    "py_compile",
    "pydoc_data",
    "sre_compile",
    "sre_constants",
    "sre_parse",
    "tidemill_entry",
    "wit_world",
];

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
        let words = self.words();
        text.replace("{{name}}", self.name.as_str())
            .replace("{{package}}", &words.join("-"))
            .replace("{{snake}}", &words.join("_"))
            .replace("{{pascal}}", &pascal(&words))
    }

    /// What packages, modules and types are called after: the words of the plugin's name, and more where these alone would not do.
    fn words(&self) -> Vec<&str> {
        let mut words: Vec<&str> = self.name.as_str().split('-').filter(|word| !word.is_empty()).collect();
        let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
        if words.first().is_some_and(is_number) {
            words.insert(0, "plugin");
        }
        if words.len() == 1 {
            words.push(self.kind.word());
        }
        if self.is_taken(&words) {
            words.insert(0, "plugin");
        }
        words
    }

    /// Whether something else is called so already: of Python's own modules, or in the template.
    fn is_taken(&self, words: &[&str]) -> bool {
        let names = [words.join("-"), words.join("_"), pascal(words)];
        let is_module = self.language == Language::Python && PYTHON_MODULES.contains(&names[1].as_str());
        let folder = format!("{}/{}/", self.language.word(), self.kind.word());
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        is_module
            || template(&folder).iter().any(|(_, text)| {
                text.split(|letter| !is_part(letter)).any(|found| names.iter().any(|name| name == found))
            })
    }
}

/// `OrderView`.
fn pascal(words: &[&str]) -> String {
    let capital = |word: &&str| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    words.iter().map(capital).collect()
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
                    for left in ["{{name}}", "{{package}}", "{{snake}}", "{{pascal}}"] {
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
    fn a_project_is_called_after_its_plugin_where_that_can_be_a_name() {
        use Kind::{Handler, Projection};
        use Language::{C, Go, JavaScript, Python, Rust};
        for (kind, language, name, expected) in [
            (Handler, Rust, "order-view", "order-view order_view OrderView"),
            (Handler, Rust, "order-2", "order-2 order_2 Order2"),
            (Handler, Rust, "2fa", "plugin-2fa plugin_2fa Plugin2fa"),
            (Handler, Go, "2-3", "plugin-2-3 plugin_2_3 Plugin23"),
            (Projection, Python, "json", "json-projection json_projection JsonProjection"),
            (Handler, Python, "tidemill", "tidemill-handler tidemill_handler TidemillHandler"),
            (Handler, Python, "py-compile", "plugin-py-compile plugin_py_compile PluginPyCompile"),
            (Handler, Rust, "fn", "fn-handler fn_handler FnHandler"),
            (Handler, Rust, "self", "self-handler self_handler SelfHandler"),
            (Projection, Rust, "customer", "customer-projection customer_projection CustomerProjection"),
            (Handler, Rust, "tidemill-sdk", "plugin-tidemill-sdk plugin_tidemill_sdk PluginTidemillSdk"),
            (
                Projection,
                Rust,
                "projection-harness",
                "plugin-projection-harness plugin_projection_harness PluginProjectionHarness",
            ),
            (Handler, JavaScript, "esbuild", "esbuild-handler esbuild_handler EsbuildHandler"),
            (Handler, C, "a--b-", "a-b a_b AB"),
        ] {
            let name = PluginName::try_new(name).unwrap();
            let project = NewProject { kind, language, name, dir: PathBuf::new() };
            assert_eq!(project.named("{{package}} {{snake}} {{pascal}}"), expected);
            assert_eq!(project.named("{{name}}"), project.name.as_str(), "plugin.yaml says what was asked for");
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
