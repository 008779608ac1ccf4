//! Takes debug information out of a component. The names of functions stay: they are what makes the backtrace of a trap
//! readable, and cost a few percent of what debug information costs.

use wasm_encoder::{Component, ComponentSection as _, Module, RawSection, Section as _};
use wasmparser::{Chunk, Encoding, Parser, Payload};

/// Nested deeper than any tool nests, and far from what a stack holds.
const MAX_DEPTH: usize = 16;

/// The component without its custom sections `.debug_*`, in all modules and components in it.
pub(crate) fn strip(component: &[u8]) -> Result<Vec<u8>, String> {
    stripped(component, MAX_DEPTH)
}

fn stripped(bytes: &[u8], depth: usize) -> Result<Vec<u8>, String> {
    let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
    let mut parser = Parser::new(0);
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let chunk = parser.parse(&bytes[at..], true).map_err(|error| error.to_string())?;
        let Chunk::Parsed { consumed, payload } = chunk else { return Err("it ends in the middle".to_owned()) };
        at += consumed;
        match &payload {
            Payload::Version { encoding: Encoding::Module, .. } => out = Module::new().finish(),
            Payload::Version { encoding: Encoding::Component, .. } => out = Component::new().finish(),
            Payload::End(_) => return Ok(out),
            Payload::CustomSection(section) if section.name().starts_with(".debug") => {}
            // Sections that hold whole modules and components. The parser goes on behind them.
            Payload::ModuleSection { unchecked_range: range, .. }
            | Payload::ComponentSection { unchecked_range: range, .. } => {
                let inner = bytes.get(range.clone()).ok_or("it ends in the middle")?;
                at = range.end;
                let (id, _) = payload.as_section().ok_or("a section has no number")?;
                RawSection { id, data: &stripped(inner, depth)? }.append_to_component(&mut out);
            }
            Payload::CodeSectionStart { range, .. } => {
                let data = bytes.get(range.clone()).ok_or("it ends in the middle")?;
                parser.skip_section();
                at = range.end;
                RawSection { id: 10, data }.append_to(&mut out);
            }
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    RawSection { id, data: &bytes[range] }.append_to(&mut out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = r#"
        (component
            (core module $inner
                (func $kept (export "f") (result i32) i32.const 7)
                (@custom ".debug_info" "much text that nobody needs at run time")
                (@custom "producers-of-ours" "stays"))
            (component (core module (@custom ".debug_line" "more of it")))
            (core instance (instantiate $inner)))
    "#;

    #[test]
    fn debug_information_goes_and_the_rest_stays() {
        let before = wat::parse_str(COMPONENT).unwrap();
        let after = strip(&before).unwrap();
        let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        for gone in ["much text", "more of it", ".debug_info", ".debug_line"] {
            assert!(holds(&before, gone) && !holds(&after, gone), "{gone}");
        }
        for kept in ["producers-of-ours", "stays", "kept"] {
            assert!(holds(&after, kept), "{kept}");
        }
        wasmparser::Validator::new().validate_all(&after).unwrap();
        assert_eq!(strip(&after).unwrap(), after, "there is nothing left to take");
    }

    #[test]
    fn what_is_damaged_is_told() {
        let whole = wat::parse_str(COMPONENT).unwrap();
        for end in [0, 4, 20, whole.len() - 5] {
            assert!(strip(&whole[..end]).is_err(), "cut after {end} bytes");
        }
    }
}
