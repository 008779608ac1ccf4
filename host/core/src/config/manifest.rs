//! `plugin.yaml`: what a plugin project says of itself that its language's own files do not. All of it may be left out, and so
//! may the file.

use super::diagnostic::{Diagnostics, Report};
use super::interpolate::MapLookup;
use super::leaf::{Choice, OneOf};
use super::read::{Optional, Reader, record};
use super::yaml;
use crate::name::PluginName;

/// The file's name.
pub const FILE: &str = "plugin.yaml";

/// What `plugin.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The plugin's name, and so its file's in the plugins folder. `None`: the project folder's.
    pub name: Option<PluginName>,
    /// `None`: what the files of the project tell.
    pub language: Option<Language>,
    /// Left out: a handler, or whatever the code says it is.
    pub world: Option<World>,
}

/// A language that plugins are built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    Rust,
    JavaScript,
    TypeScript,
    Python,
    Go,
    C,
    Cpp,
    Zig,
}

/// What a plugin is for: a world of `wit/world.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum World {
    #[default]
    Handler,
    Projection,
    ProjectionWithQueries,
}

/// The manifest that `text` says, or everything that is wrong with it.
pub fn load(text: &str) -> Result<Manifest, Diagnostics> {
    let mut report = Report::default();
    let nothing = MapLookup::default();
    let file = yaml::parse(text, &mut report)
        .and_then(|root| Reader { lookup: &nothing, report: &mut report }.read::<File>(&root));
    match file {
        Some(file) if report.is_empty() => Ok(file.value.into()),
        _ => Err(report.finish()),
    }
}

record! {
    /// A plugin project.
    File {
        /// The plugin's name. Left out: the name of the folder.
        #[schemars(example = &"fraud-check")]
        name: Optional<PluginName>,
        /// The language of the sources. Left out: what the files in the folder tell.
        #[schemars(example = &"python")]
        language: Optional<OneOf<Language>>,
        /// What the plugin is for.
        #[schemars(extend("default" = "handler"), example = &"projection")]
        world: Optional<OneOf<World>>,
    }
}

// === impl Manifest ===

impl From<File> for Manifest {
    fn from(file: File) -> Self {
        Self {
            name: file.name.map(|at| at.value),
            language: file.language.map(|at| at.value.0),
            world: file.world.map(|at| at.value.0),
        }
    }
}

// === impl Language ===

impl Language {
    /// All of them, in the order in which they are listed for people.
    pub const ALL: [Self; 8] =
        [Self::Rust, Self::JavaScript, Self::TypeScript, Self::Python, Self::Go, Self::C, Self::Cpp, Self::Zig];

    /// The word for it in `plugin.yaml` and on the command line.
    pub fn word(self) -> &'static str {
        super::leaf::word(&self)
    }

    /// Its name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Zig => "Zig",
        }
    }
}

impl Choice for Language {
    const CHOICES: &[(&str, Self)] = &[
        ("rust", Self::Rust),
        ("js", Self::JavaScript),
        ("ts", Self::TypeScript),
        ("python", Self::Python),
        ("go", Self::Go),
        ("c", Self::C),
        ("cpp", Self::Cpp),
        ("zig", Self::Zig),
    ];
}

// === impl World ===

impl World {
    /// Its name in `wit/world.wit`.
    pub fn word(self) -> &'static str {
        super::leaf::word(&self)
    }
}

impl Choice for World {
    const CHOICES: &[(&str, Self)] = &[
        ("handler", Self::Handler),
        ("projection", Self::Projection),
        ("projection-with-queries", Self::ProjectionWithQueries),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        for empty in ["", "# nothing yet\n", "{}"] {
            assert_eq!(load(empty).unwrap(), Manifest::default(), "{empty:?}");
        }
    }

    #[test]
    fn everything_that_can_be_said_is_read() {
        let manifest = load("name: order-view\nlanguage: python\nworld: projection-with-queries\n").unwrap();
        assert_eq!(manifest.name.unwrap().as_str(), "order-view");
        assert_eq!(manifest.language, Some(Language::Python));
        assert_eq!(manifest.world, Some(World::ProjectionWithQueries));
    }

    #[test]
    fn all_mistakes_come_out_at_once() {
        let found = load("nmae: x\nlanguage: pyhton\nworld: handlers\n").unwrap_err().render(FILE);
        for expected in [
            "plugin.yaml:1:1: nmae: unknown field `nmae`, did you mean `name`?",
            "did you mean `python`?",
            "expected `handler`, `projection` or `projection-with-queries`, found `handlers`",
            "did you mean `handler`?",
        ] {
            assert!(found.contains(expected), "{expected} is not in\n{found}");
        }
    }

    #[test]
    fn every_language_has_a_word() {
        let words: Vec<&str> = Language::ALL.iter().map(|language| language.word()).collect();
        assert_eq!(words, ["rust", "js", "ts", "python", "go", "c", "cpp", "zig"]);
    }
}
