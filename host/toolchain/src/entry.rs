//! Whether what the tools made can be called at all: the compilers of most languages are content with a plugin that has no handler.
//!
//! The host would refuse it as well, in the words of the contract. Here it is known in which language the author has to write the
//! line that is missing.

use tidemill_core::config::manifest::{Language, World};
use wasmparser::{Parser, Payload};

use crate::error::BuildError;
use crate::project::Project;

/// Fails where a component or a core module exports nothing that a host calls a plugin of its world by.
pub(crate) fn check(made: &[u8], project: &Project) -> Result<(), BuildError> {
    let exports = exports(made).map_err(|error| BuildError::Damaged(error.to_string()))?;
    let has = |world| exports.iter().any(|name| name.starts_with(interface(world)));
    let world = project.world();
    if has(world) {
        return Ok(());
    }
    let other = [World::Handler, World::Projection].into_iter().find(|other| has(*other));
    if other.is_some() && project.is_told_by_code() {
        return Ok(());
    }
    Err(other
        .map_or_else(|| missing(project), |other| BuildError::OtherEntry { found: noun(other), expected: noun(world) }))
}

/// That there is nothing to call, and what to write.
pub(crate) fn missing(project: &Project) -> BuildError {
    BuildError::NoEntry { what: noun(project.world()), hint: hint(project.language, project.world()) }
}

/// What the outermost component or module exports.
fn exports(made: &[u8]) -> wasmparser::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(made) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export?.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// How the name of every export begins that makes it a plugin of this world; a module's goes on with a function.
fn interface(world: World) -> &'static str {
    match world {
        World::Handler => "tidemill:plugin/event-handler@",
        World::Projection | World::ProjectionWithQueries => "tidemill:plugin/event-projection@",
    }
}

fn noun(world: World) -> &'static str {
    match world {
        World::Handler => "handler",
        World::Projection | World::ProjectionWithQueries => "projection",
    }
}

fn hint(language: Language, world: World) -> &'static str {
    let (handler, projection) = match language {
        Language::Rust => (
            "name the type that implements `Handler`, at the root of the crate: `tidemill_sdk::handler!(MyHandler);`",
            "name the type that implements `Projection`, at the root of the crate: `tidemill_sdk::projection!(MyView);`",
        ),
        Language::JavaScript | Language::TypeScript => (
            "the plugin's module exports it: `export default handler((event) => { … });`",
            "the plugin's module exports it: `export default projection((event) => { … });`",
        ),
        Language::Python => (
            "write `@handler` above the function that is given the events",
            "write `@projection` above the function that is given the events",
        ),
        Language::Go => (
            "`main` names the function that is given the events: `func main() { handler.Handle(check) }`",
            "`main` names the function that is given the events: `func main() { projection.Apply(fold) }`",
        ),
        Language::C | Language::Cpp => (
            "define `tm_outcome tidemill_handle(const tm_event *event, const tm_context *context)`",
            "define `tm_outcome tidemill_apply(const tm_event *event, const tm_context *context)`, and for `projection-with-queries` `tidemill_query`",
        ),
        Language::Zig => (
            "src/main.zig names the function that is given the events: `comptime { tidemill.exportHandler(handle); }`",
            "src/main.zig names the function that is given the events: `comptime { tidemill.exportProjection(apply); }`, and for `projection-with-queries` `tidemill.exportQueries(query)`",
        ),
    };
    if world == World::Handler { handler } else { projection }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A project in C, of a world.
    fn project(world: &str) -> (tempfile::TempDir, Project) {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("name: one\nlanguage: c\nworld: {world}\n");
        fs::write(dir.path().join("plugin.yaml"), text).unwrap();
        let project = Project::open(dir.path()).unwrap();
        (dir, project)
    }

    fn said(text: &str, world: &str) -> Option<String> {
        let (_dir, project) = project(world);
        check(&wat::parse_str(text).unwrap(), &project).err().map(|error| error.to_string())
    }

    const HANDLER: &str = r#"(module (func (export "tidemill:plugin/event-handler@0.2.0#handle")))"#;
    const PROJECTION: &str =
        r#"(component (instance $it) (export "tidemill:plugin/event-projection@0.2.0" (instance $it)))"#;

    #[test]
    fn what_a_host_can_call_is_well() {
        assert_eq!(said(HANDLER, "handler"), None);
        assert_eq!(said(PROJECTION, "projection"), None);
        assert_eq!(said(PROJECTION, "projection-with-queries"), None);
    }

    #[test]
    fn what_it_cannot_is_told_with_what_to_write() {
        let inner = format!("(component (core {}))", &HANDLER[1..HANDLER.len() - 1]);
        for empty in ["(module)", "(component)", &inner] {
            assert_eq!(
                said(empty, "handler").unwrap(),
                "the code has no handler that a host could call; define `tm_outcome tidemill_handle(const tm_event *event, const tm_context *context)`"
            );
        }
    }

    #[test]
    fn what_is_of_the_other_kind_is_told_where_that_is_said() {
        assert_eq!(
            said(HANDLER, "projection").unwrap(),
            "the code is a handler, but a projection is expected: `world` in plugin.yaml says which of them it is"
        );
    }

    #[test]
    fn every_language_has_a_hint_of_its_own_kind() {
        for language in Language::ALL {
            let [handler, projection] = [World::Handler, World::Projection].map(|world| hint(language, world));
            assert_ne!(handler, projection, "{language:?}");
        }
    }
}
