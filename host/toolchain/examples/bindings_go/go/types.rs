//! `types.go`: the contract's types, as Go's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use wit_parser::{Docs, PackageId, Type, TypeDefKind, TypeId};

use super::words::pascal;
use super::{Contract, GENERATED};

impl Contract {
    pub(super) fn types(&self, package: PackageId) -> Result<String> {
        let mut text = format!("{GENERATED}\n");
        text.push_str(
            "// Package contract is Tidemill's contract in Go: its types, what a plugin may ask of the host, and, in a package for each,\n\
             // what it exports. It exists twice: in a component it asks the host, in a native build whoever stands in for it.\n\
             package contract\n",
        );
        for interface in self.resolve.packages[package].interfaces.values() {
            for id in self.resolve.interfaces[*interface].types.values() {
                if !matches!(self.resolve.types[*id].kind, TypeDefKind::Type(_)) {
                    text.push('\n');
                    text.push_str(&self.type_definition(*id)?);
                }
            }
        }
        Ok(text)
    }

    fn type_definition(&self, id: TypeId) -> Result<String> {
        let (name, definition) = (self.type_name(id), &self.resolve.types[id]);
        let mut text = self.documentation(
            &definition.docs,
            "",
            &format!("{name} is `{}`.", definition.name.as_deref().unwrap_or_default()),
        );
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let mut fields = Vec::new();
                for field in &record.fields {
                    fields.push((pascal(&field.name), self.go_type(&self.shape(&field.ty)?), &field.docs));
                }
                writeln!(text, "type {name} struct {{\n{}}}", self.fields(&fields))?;
            }
            TypeDefKind::Enum(it) => {
                writeln!(text, "type {name} uint8\n")?;
                let cases = it.cases.iter().map(|case| (case.name.as_str(), &case.docs));
                text.push_str(&self.cases(&name, &name, cases));
            }
            TypeDefKind::Variant(variant) => {
                let nowhere = Docs::default();
                let mut fields = vec![("Case".to_owned(), format!("{name}Case"), &nowhere)];
                match self.uniform(variant) {
                    Some(ty) => fields.push(("Value".to_owned(), self.go_type(&self.shape(&ty)?), &nowhere)),
                    None => {
                        for case in &variant.cases {
                            if let Some(ty) = &case.ty {
                                fields.push((pascal(&case.name), self.go_type(&self.shape(ty)?), &nowhere));
                            }
                        }
                    }
                }
                writeln!(text, "type {name} struct {{\n{}}}\n", self.fields(&fields))?;
                writeln!(text, "// {name}Case says which {name} it is.\ntype {name}Case uint8\n")?;
                let cases = variant.cases.iter().map(|case| (case.name.as_str(), &case.docs));
                text.push_str(&self.cases(&name, &format!("{name}Case"), cases));
            }
            other => {
                bail!("the type `{name}` of the contract is a {}: this generator does not know that", other.as_str())
            }
        }
        Ok(text)
    }

    /// The fields of a struct, lined up as gofmt does: in blocks that a documented field ends.
    fn fields(&self, fields: &[(String, String, &Docs)]) -> String {
        let mut text = String::new();
        for block in blocks(fields, |(_, _, docs)| docs.contents.is_some()) {
            let width = block.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
            for (name, ty, docs) in block {
                text.push_str(&self.documentation(docs, "\t", ""));
                let _ = writeln!(text, "\t{name:width$} {ty}");
            }
        }
        text
    }

    fn cases<'a>(&self, prefix: &str, ty: &str, cases: impl Iterator<Item = (&'a str, &'a Docs)>) -> String {
        let mut text = "const (\n".to_owned();
        for (number, (name, docs)) in cases.enumerate() {
            text.push_str(&self.documentation(docs, "\t", ""));
            let first = if number == 0 { format!(" {ty} = iota") } else { String::new() };
            let _ = writeln!(text, "\t{prefix}{}{first}", pascal(name));
        }
        text + ")\n"
    }

    /// The type of all cases' values, if it is the same.
    pub(super) fn uniform(&self, variant: &wit_parser::Variant) -> Option<Type> {
        let first = variant.cases.first()?.ty?;
        variant.cases.iter().all(|case| case.ty == Some(first)).then_some(first)
    }
}

/// Splits before each item that begins a block of its own, and after it, as gofmt lines up.
fn blocks<T>(items: &[T], alone: impl Fn(&T) -> bool) -> Vec<&[T]> {
    let starts: BTreeSet<usize> =
        items.iter().enumerate().filter(|(_, item)| alone(item)).map(|(at, _)| at).chain([0, items.len()]).collect();
    let starts: Vec<usize> = starts.into_iter().collect();
    starts.windows(2).map(|pair| &items[pair[0]..pair[1]]).collect()
}
