//! `imports.go` and `imports_native.go`: what a plugin may ask, of the host in a component and of whoever stands in for it elsewhere.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use wit_parser::{Function, InterfaceId, Type, TypeDefKind};

use super::words::camel;
use super::{Contract, GENERATED, MODULE, Returned, Shape};

/// One parameter of the core function: how it is declared, and what is passed.
struct Passed {
    declared: String,
    given: String,
}

impl Contract {
    pub(super) fn imports(&self, interfaces: &[InterfaceId]) -> Result<String> {
        let mut text = format!(
            "{GENERATED}\n//go:build wasip1\n\npackage contract\n\nimport (\n\t\"unsafe\"\n\n\t\"{MODULE}/internal/abi\"\n)\n"
        );
        for (interface, function) in self.functions(interfaces) {
            text.push('\n');
            text.push_str(&self.import(interface, function)?);
        }
        Ok(text)
    }

    /// The function that Go code calls, and the one of the host that it calls.
    fn import(&self, interface: InterfaceId, function: &Function) -> Result<String> {
        let name = self.function_name(interface, function);
        let indirect = self.signature(function, false).indirect_params;
        let returned = self.returned(function)?;
        let mut passed = Vec::new();
        let mut body = "\tplace := abi.Mark()\n".to_owned();
        if indirect {
            let layout = self.sizes.params(function.params.iter().map(|parameter| &parameter.ty));
            writeln!(body, "\tparameters := abi.New({}, {})", layout.size.size_wasm32(), layout.align.align_wasm32())?;
            let offsets = self.sizes.field_offsets(function.params.iter().map(|parameter| &parameter.ty));
            for (parameter, (offset, ty)) in function.params.iter().zip(offsets) {
                let put = self.put(
                    &self.shape(ty)?,
                    ty,
                    "parameters",
                    &offset.size_wasm32().to_string(),
                    &camel(&parameter.name),
                    "",
                )?;
                writeln!(body, "\t{put}")?;
            }
            passed.push(Passed { declared: "parameters unsafe.Pointer".to_owned(), given: "parameters".to_owned() });
        } else {
            for parameter in &function.params {
                passed.extend(self.passed(&camel(&parameter.name), &self.shape(&parameter.ty)?)?);
            }
        }
        if !returned.is_nothing() && !returned.bare {
            passed.push(Passed { declared: "result unsafe.Pointer".to_owned(), given: "abi.Result".to_owned() });
        }
        let declared: Vec<&str> = passed.iter().map(|it| it.declared.as_str()).collect();
        let given: Vec<&str> = passed.iter().map(|it| it.given.as_str()).collect();
        let mut text = String::new();
        writeln!(text, "//go:wasmimport {} {}", self.interface_path(interface), function.name)?;
        let (result, answer) = if returned.bare { (" uint32", "answer := ") } else { ("", "") };
        writeln!(text, "func import{name}({}){result}\n", declared.join(", "))?;
        text.push_str(&self.function_documentation(interface, function));
        writeln!(text, "func {name}({}){} {{", self.parameters(function, "")?, self.results(&returned, ""))?;
        text.push_str(&body);
        writeln!(text, "\t{answer}import{name}({})", given.join(", "))?;
        text.push_str(&self.answer(&returned)?);
        Ok(text + "}\n")
    }

    /// The statements that read what an import gave back, and end the call.
    fn answer(&self, returned: &Returned) -> Result<String> {
        let mut text = String::new();
        let read =
            |shape: &Shape, ty: &Type, offset: usize| self.read(shape, ty, "abi.Result", &offset.to_string(), "");
        match (&returned.value, returned.failure) {
            (None, None) => text.push_str("\tplace.Release()\n"),
            (Some(_), None) if returned.bare => text.push_str("\tplace.Release()\n\treturn answer\n"),
            (Some((Shape::OptionText, _)), None) => {
                text.push_str("\tanswer, found := abi.OptionString(abi.Result, 0), abi.Bool(abi.Result, 0)\n");
                text.push_str("\tplace.Release()\n\treturn answer, found\n");
            }
            (Some((shape, ty)), None) => {
                writeln!(text, "\tanswer := {}", read(shape, ty, 0)?)?;
                text.push_str("\tplace.Release()\n\treturn answer\n");
            }
            (value, Some(failure)) => {
                let name = self.type_name(failure);
                if let Some((shape, _)) = value {
                    writeln!(text, "\tvar answer {}", self.go_type(shape))?;
                }
                writeln!(text, "\tvar failure *{name}")?;
                text.push_str("\tif abi.Bool(abi.Result, 0) {\n");
                writeln!(text, "\t\tlifted := Lift{name}(abi.Result, {})", returned.offset)?;
                text.push_str("\t\tfailure = &lifted\n");
                if let Some((shape, ty)) = value {
                    writeln!(text, "\t}} else {{\n\t\tanswer = {}", read(shape, ty, returned.offset)?)?;
                }
                text.push_str("\t}\n\tplace.Release()\n");
                text.push_str(if value.is_some() { "\treturn answer, failure\n" } else { "\treturn failure\n" });
            }
        }
        Ok(text)
    }

    /// How a parameter passes that does not pass in memory.
    fn passed(&self, name: &str, shape: &Shape) -> Result<Vec<Passed>> {
        let one = |declared: String, given: String| Passed { declared, given };
        let list = |data: String| {
            [
                one(format!("{name} unsafe.Pointer"), data),
                one(format!("{name}Length uint32"), format!("uint32(len({name}))")),
            ]
        };
        let some = |condition: &str| one(format!("{name}Some uint32"), format!("abi.Some({name} != {condition})"));
        Ok(match shape {
            Shape::Number => vec![one(format!("{name} uint32"), name.to_owned())],
            Shape::Text => vec![one(format!("{name} string"), name.to_owned())],
            Shape::OptionText => vec![some("\"\""), one(format!("{name} string"), name.to_owned())],
            Shape::Bytes => list(format!("abi.Data({name})")).into(),
            Shape::OptionBytes => [some("nil")].into_iter().chain(list(format!("abi.Data({name})"))).collect(),
            Shape::List(item, ty) => {
                let (size, align) = (self.sizes.size(ty).size_wasm32(), self.sizes.align(ty).align_wasm32());
                list(format!("abi.Items({size}, {align}, {name}, {})", self.put_function(item, "")?)).into()
            }
            Shape::Named(id) if matches!(self.resolve.types[*id].kind, TypeDefKind::Enum(_)) => {
                vec![one(format!("{name} uint32"), format!("uint32({name})"))]
            }
            _ => bail!("a {} passes outside of memory: this generator does not know that", self.go_type(shape)),
        })
    }

    // --- imports_native.go -------------------------------------------------------------------------------------------

    pub(super) fn native(&self, interfaces: &[InterfaceId]) -> Result<String> {
        let mut text = format!("{GENERATED}\n//go:build !wasip1\n\npackage contract\n\n");
        text.push_str("// Host is what a plugin may ask, for whoever stands in for the host in a native build.\ntype Host interface {\n");
        for (interface, function) in self.functions(interfaces) {
            let (name, results) =
                (self.function_name(interface, function), self.results(&self.returned(function)?, ""));
            writeln!(text, "\t{name}({}){results}", self.parameters(function, "")?)?;
        }
        text.push_str("}\n");
        for (interface, function) in self.functions(interfaces) {
            let name = self.function_name(interface, function);
            let returned = self.returned(function)?;
            text.push('\n');
            text.push_str(&self.function_documentation(interface, function));
            writeln!(text, "func {name}({}){} {{", self.parameters(function, "")?, self.results(&returned, ""))?;
            let given: Vec<String> = function.params.iter().map(|parameter| camel(&parameter.name)).collect();
            let word = if returned.is_nothing() { "" } else { "return " };
            writeln!(text, "\t{word}host().{name}({})\n}}", given.join(", "))?;
        }
        Ok(text)
    }
}
