//! A package for each interface that a plugin exports.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use wit_parser::{Function, InterfaceId};

use super::words::{camel, pascal};
use super::{Contract, GENERATED, MODULE, Shape};

impl Contract {
    pub(super) fn exports(&self, interface: InterfaceId) -> Result<String> {
        let package = self.interface(interface).replace('-', "");
        let mut text = format!("{GENERATED}\n//go:build wasip1\n\n");
        writeln!(text, "// Package {package} makes a module export `{}`.", self.interface(interface))?;
        writeln!(
            text,
            "package {package}\n\nimport (\n\t\"unsafe\"\n\n\t\"{MODULE}/internal/abi\"\n\t\"{MODULE}/internal/contract\"\n)"
        )?;
        for function in self.resolve.interfaces[interface].functions.values() {
            text.push('\n');
            text.push_str(&self.export(interface, function)?);
        }
        Ok(text)
    }

    fn export(&self, interface: InterfaceId, function: &Function) -> Result<String> {
        let (hook, name) = (pascal(&function.name), camel(&function.name));
        let returned = self.returned(function)?;
        let Some(failure) = returned.failure else {
            bail!("the export `{name}` cannot fail: this generator does not know that")
        };
        let mut declared = Vec::new();
        let mut given = Vec::new();
        if self.signature(function, true).indirect_params {
            declared.push("parameters unsafe.Pointer".to_owned());
            for (offset, ty) in self.sizes.field_offsets(function.params.iter().map(|parameter| &parameter.ty)) {
                given.push(self.read(
                    &self.shape(ty)?,
                    ty,
                    "parameters",
                    &offset.size_wasm32().to_string(),
                    "contract.",
                )?);
            }
        } else {
            for parameter in &function.params {
                let parameter_name = camel(&parameter.name);
                declared.push(format!("{parameter_name} unsafe.Pointer, {parameter_name}Length uint32"));
                given.push(match self.shape(&parameter.ty)? {
                    Shape::Text => format!("abi.StringAt({parameter_name}, {parameter_name}Length)"),
                    Shape::Bytes => format!("abi.BytesAt({parameter_name}, {parameter_name}Length)"),
                    other => {
                        bail!("a {} comes outside of memory: this generator does not know that", self.go_type(&other))
                    }
                });
            }
        }
        let mut text =
            format!("// {hook} is called by the host. Whoever imports this package sets it before that.\n//\n");
        text.push_str(&self.documentation(&function.docs, "", ""));
        writeln!(
            text,
            "var {hook} func({}){}\n",
            self.parameters(function, "contract.")?,
            self.results(&returned, "contract.")
        )?;
        writeln!(text, "//go:wasmexport {}#{}", self.interface_path(interface), function.name)?;
        writeln!(text, "func {name}({}) unsafe.Pointer {{\n\tabi.Enter()", declared.join(", "))?;
        let names = if returned.value.is_some() { "answer, failure" } else { "failure" };
        writeln!(text, "\t{names} := {hook}({})", given.join(", "))?;
        text.push_str("\tabi.Leave()\n\tif failure != nil {\n\t\tabi.PutUint8(abi.Result, 0, 1)\n");
        writeln!(text, "\t\tcontract.Lower{}(abi.Result, {}, *failure)", self.type_name(failure), returned.offset)?;
        text.push_str("\t} else {\n\t\tabi.PutUint8(abi.Result, 0, 0)\n");
        if let Some((shape, ty)) = &returned.value {
            writeln!(
                text,
                "\t\t{}",
                self.put(shape, ty, "abi.Result", &returned.offset.to_string(), "answer", "contract.")?
            )?;
        }
        Ok(text + "\t}\n\treturn abi.Result\n}\n")
    }
}
