//! `memory.go`: how values lie in memory, and what reads and writes them there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};
use wit_parser::{InterfaceId, Type, TypeDefKind, TypeId};

use super::words::pascal;
use super::{Contract, GENERATED, MODULE, Shape};

impl Contract {
    /// How the named types lie in memory: functions that read what the host writes, and write what the host reads.
    pub(super) fn memory(&self, imported: &[InterfaceId], exported: &[InterfaceId]) -> Result<String> {
        let (mut read, mut written) = (BTreeMap::new(), BTreeMap::new());
        // What the host hands over lies there until the call ends; what it answers does not.
        let (mut handed, mut answered) = (BTreeMap::new(), BTreeMap::new());
        for (interfaces, is_export) in [(imported, false), (exported, true)] {
            for function in interfaces.iter().flat_map(|id| self.resolve.interfaces[*id].functions.values()) {
                let indirect = self.signature(function, is_export).indirect_params;
                let (parameters, results) =
                    if is_export { (&mut read, &mut written) } else { (&mut written, &mut read) };
                for parameter in &function.params {
                    self.reach(&parameter.ty, indirect || is_export, parameters)?;
                    if is_export {
                        self.reach(&parameter.ty, true, &mut handed)?;
                    }
                }
                if let Some(ty) = &function.result {
                    self.reach(ty, true, results)?;
                    if !is_export {
                        self.reach(ty, true, &mut answered)?;
                    }
                }
            }
        }
        handed.retain(|name, _| !answered.contains_key(name));
        let mut text = format!(
            "{GENERATED}\n//go:build wasip1\n\npackage contract\n\nimport (\n\t\"unsafe\"\n\n\t\"{MODULE}/internal/abi\"\n)\n"
        );
        for (name, id) in &read {
            text.push('\n');
            text.push_str(&self.reader(*id, handed.contains_key(name))?);
        }
        for id in written.values() {
            text.push('\n');
            text.push_str(&self.writer(*id)?);
        }
        Ok(text)
    }

    /// Collects the named types that lie in memory, by their names. A type at the top passes in memory only if `in_memory`.
    fn reach(&self, ty: &Type, in_memory: bool, found: &mut BTreeMap<String, TypeId>) -> Result<()> {
        let Type::Id(id) = ty else { return Ok(()) };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(ty) => self.reach(ty, in_memory, found)?,
            TypeDefKind::List(ty) => self.reach(ty, true, found)?,
            TypeDefKind::Option(ty) => self.reach(ty, in_memory, found)?,
            TypeDefKind::Result(result) => {
                for ty in [&result.ok, &result.err].into_iter().flatten() {
                    self.reach(ty, in_memory, found)?;
                }
            }
            kind => {
                if in_memory {
                    found.insert(self.type_name(*id), *id);
                }
                match kind {
                    TypeDefKind::Record(record) => {
                        for field in &record.fields {
                            self.reach(&field.ty, in_memory, found)?;
                        }
                    }
                    TypeDefKind::Variant(variant) => {
                        for ty in variant.cases.iter().filter_map(|case| case.ty.as_ref()) {
                            self.reach(ty, in_memory, found)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The function that reads a type. Its bytes are copied, unless they are `handed` over and so stay where they are.
    fn reader(&self, id: TypeId, handed: bool) -> Result<String> {
        let name = self.type_name(id);
        let mut text = format!(
            "// Lift{name} reads what the host wrote.\nfunc Lift{name}(at unsafe.Pointer, offset uintptr) {name} {{\n"
        );
        match &self.resolve.types[id].kind {
            TypeDefKind::Record(record) => {
                let lines = self.layout(record)?;
                let width = lines.iter().map(|(name, ..)| name.len() + 1).max().unwrap_or(0);
                writeln!(text, "\treturn {name}{{")?;
                for (field, offset, shape, ty) in lines {
                    let mut read = self.read(&shape, &ty, "at", &place("offset", offset), "")?;
                    if handed && matches!(shape, Shape::Bytes) {
                        read = read.replacen("abi.Bytes", "abi.View", 1);
                    }
                    writeln!(text, "\t\t{:width$} {read},", format!("{field}:"))?;
                }
                text.push_str("\t}\n");
            }
            TypeDefKind::Variant(variant) => {
                let Some(ty) = self.uniform(variant) else {
                    bail!(
                        "the variant `{name}` is read, and its cases' values differ: this generator does not know that"
                    )
                };
                let payload = self
                    .sizes
                    .payload_offset(variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()))
                    .size_wasm32();
                let read = self.read(&self.shape(&ty)?, &ty, "at", &place("offset", payload), "")?;
                writeln!(text, "\treturn {name}{{{name}Case(abi.Uint8(at, offset)), {read}}}")?;
            }
            other => bail!("the {} `{name}` is read: this generator does not know that", other.as_str()),
        }
        Ok(text + "}\n")
    }

    fn writer(&self, id: TypeId) -> Result<String> {
        let name = self.type_name(id);
        let mut text = format!(
            "// Lower{name} writes what the host reads.\nfunc Lower{name}(at unsafe.Pointer, offset uintptr, value {name}) {{\n"
        );
        match &self.resolve.types[id].kind {
            TypeDefKind::Record(record) => {
                for (field, offset, shape, ty) in self.layout(record)? {
                    let put = self.put(&shape, &ty, "at", &place("offset", offset), &format!("value.{field}"), "")?;
                    writeln!(text, "\t{put}")?;
                }
            }
            TypeDefKind::Variant(variant) => {
                ensure!(
                    self.uniform(variant).is_none(),
                    "the variant `{name}` is written, and all its cases' values are alike: this generator does not know that"
                );
                let payload = self
                    .sizes
                    .payload_offset(variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()))
                    .size_wasm32();
                text.push_str("\tabi.PutUint8(at, offset, uint8(value.Case))\n\tswitch value.Case {\n");
                for case in &variant.cases {
                    writeln!(text, "\tcase {name}{}:", pascal(&case.name))?;
                    if let Some(ty) = &case.ty {
                        let put = self.put(
                            &self.shape(ty)?,
                            ty,
                            "at",
                            &place("offset", payload),
                            &format!("value.{}", pascal(&case.name)),
                            "",
                        )?;
                        writeln!(text, "\t\t{put}")?;
                    }
                }
                text.push_str("\t}\n");
            }
            other => bail!("the {} `{name}` is written: this generator does not know that", other.as_str()),
        }
        Ok(text + "}\n")
    }

    fn layout(&self, record: &wit_parser::Record) -> Result<Vec<(String, usize, Shape, Type)>> {
        let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
        record
            .fields
            .iter()
            .zip(offsets)
            .map(|(field, (offset, _))| {
                Ok((pascal(&field.name), offset.size_wasm32(), self.shape(&field.ty)?, field.ty))
            })
            .collect()
    }

    /// The expression that reads a value from memory. `package` stands before the names of this package where another one uses it.
    pub(super) fn read(&self, shape: &Shape, ty: &Type, at: &str, offset: &str, package: &str) -> Result<String> {
        let _ = ty;
        Ok(match shape {
            Shape::List(item, item_type) => {
                format!(
                    "abi.List({at}, {offset}, {}, {})",
                    self.sizes.size(item_type).size_wasm32(),
                    self.read_function(item, package)?
                )
            }
            _ => format!("{}({at}, {offset})", self.read_function(shape, package)?),
        })
    }

    fn read_function(&self, shape: &Shape, package: &str) -> Result<String> {
        Ok(match shape {
            Shape::Bool => "abi.Bool".to_owned(),
            Shape::Number => "abi.Uint32".to_owned(),
            Shape::Text => "abi.String".to_owned(),
            Shape::Bytes => "abi.Bytes".to_owned(),
            Shape::OptionText => "abi.OptionString".to_owned(),
            Shape::OptionBytes => "abi.OptionBytes".to_owned(),
            Shape::Named(id) => format!("{package}Lift{}", self.type_name(*id)),
            Shape::OptionNumber | Shape::List(..) => {
                bail!("a {} is read: this generator does not know that", self.go_type(shape))
            }
        })
    }

    /// The statement that writes a value to memory.
    pub(super) fn put(
        &self,
        shape: &Shape,
        ty: &Type,
        at: &str,
        offset: &str,
        value: &str,
        package: &str,
    ) -> Result<String> {
        let _ = ty;
        Ok(match shape {
            Shape::List(item, item_type) => {
                let (size, align) =
                    (self.sizes.size(item_type).size_wasm32(), self.sizes.align(item_type).align_wasm32());
                format!("abi.PutList({at}, {offset}, {size}, {align}, {value}, {})", self.put_function(item, package)?)
            }
            _ => format!("{}({at}, {offset}, {value})", self.put_function(shape, package)?),
        })
    }

    pub(super) fn put_function(&self, shape: &Shape, package: &str) -> Result<String> {
        Ok(match shape {
            Shape::Number => "abi.PutUint32".to_owned(),
            Shape::Text => "abi.PutString".to_owned(),
            Shape::Bytes => "abi.PutBytes".to_owned(),
            Shape::OptionText => "abi.PutOptionString".to_owned(),
            Shape::OptionNumber => "abi.PutOptionUint32".to_owned(),
            Shape::Named(id) => format!("{package}Lower{}", self.type_name(*id)),
            _ => bail!("a {} is written: this generator does not know that", self.go_type(shape)),
        })
    }
}

/// A place in memory, as Go code.
fn place(base: &str, offset: usize) -> String {
    if offset == 0 { base.to_owned() } else { format!("{base}+{offset}") }
}
