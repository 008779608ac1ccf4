//! The SDKs and the contract, as they were when this binary was built. `tidemill new` puts a copy of its language's SDK into the
//! project, so that a project builds with what fits its host, on a machine that has nothing else of Tidemill.

use std::borrow::Cow;

use rust_embed::RustEmbed;
use tidemill_core::config::manifest::Language;

#[derive(RustEmbed)]
#[folder = "../../wit"]
#[include = "*.wit"]
#[exclude = "frozen/*"]
struct Contract;

#[derive(RustEmbed)]
#[folder = "../../sdk/rust"]
#[include = "Cargo.toml"]
#[include = "README.md"]
#[include = "src/**/*.rs"]
#[include = "wit/*.wit"]
struct Rust;

#[derive(RustEmbed)]
#[folder = "../../sdk/c"]
#[include = "*.h"]
#[include = "README.md"]
#[include = "src/*"]
#[include = "component/**/*.c"]
#[include = "component/**/*.h"]
#[include = "testing/*"]
#[include = "zig/*.zig"]
#[include = "wit/*.wit"]
struct C;

/// What npm would publish.
#[derive(RustEmbed)]
#[folder = "../../sdk/js"]
#[include = "package.json"]
#[include = "README.md"]
#[include = "lib/**/*"]
#[include = "wit/*.wit"]
struct JavaScript;

#[derive(RustEmbed)]
#[folder = "../../sdk/python"]
#[include = "pyproject.toml"]
#[include = "README.md"]
#[include = "src/**/*.py"]
#[include = "src/**/py.typed"]
#[include = "wit/*.wit"]
struct Python;

#[derive(RustEmbed)]
#[folder = "../../sdk/go"]
#[include = "go.mod"]
#[include = "README.md"]
#[include = "**/*.go"]
#[include = "**/*.s"]
#[include = "wit/*.wit"]
#[exclude = "**/*_test.go"]
#[exclude = "examples/**"]
struct Go;

/// A file's place below the SDK's folder, and what is in it.
pub(crate) type File = (String, Cow<'static, [u8]>);

/// The contract's files, in the order of their names.
pub(crate) fn contract() -> Vec<(String, String)> {
    files::<Contract>().into_iter().map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned())).collect()
}

/// The SDK's files.
pub(crate) fn of(language: Language) -> Vec<File> {
    match language {
        Language::Rust => files::<Rust>(),
        Language::C | Language::Cpp | Language::Zig => files::<C>(),
        Language::JavaScript | Language::TypeScript => files::<JavaScript>(),
        Language::Python => files::<Python>(),
        Language::Go => files::<Go>(),
    }
}

/// Where a project has its SDK.
pub(crate) fn folder(language: Language) -> &'static str {
    match language {
        // Go takes everything below a folder `vendor` for modules that it has put there itself, and refuses to build.
        Language::Go => "third_party/tidemill",
        _ => "vendor/tidemill",
    }
}

fn files<E: RustEmbed>() -> Vec<File> {
    let mut files: Vec<File> =
        E::iter().filter_map(|path| E::get(&path).map(|file| (path.into_owned(), file.data))).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_whole() {
        let names: Vec<String> = contract().into_iter().map(|(name, _)| name).collect();
        for name in ["types.wit", "world.wit", "event-handler.wit", "event-projection.wit", "queries.wit"] {
            assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
        }
    }

    #[test]
    fn an_sdk_is_its_sources_and_nothing_that_lies_around() {
        for language in Language::ALL {
            let files = of(language);
            assert!(files.len() > 3, "{language:?} has {} files", files.len());
            for (path, bytes) in files {
                let lying_around =
                    ["target/", "node_modules/", "__pycache__", ".venv/"].iter().any(|part| path.contains(part))
                        || path.starts_with("tests/");
                assert!(!lying_around && bytes.len() < 1024 * 1024, "{language:?}: {path} with {} bytes", bytes.len());
            }
        }
    }
}
