//! What the files have in common: how types, functions and their documentation read in Go.

use anyhow::{Result, bail, ensure};
use wit_parser::abi::AbiVariant;
use wit_parser::{Docs, Function, InterfaceId, Type, TypeDefKind, TypeId};

use super::{Contract, RESULT_BYTES, Returned, Shape};

impl Contract {
    pub(super) fn functions<'a>(
        &'a self,
        interfaces: &'a [InterfaceId],
    ) -> impl Iterator<Item = (InterfaceId, &'a Function)> {
        interfaces.iter().flat_map(|id| self.resolve.interfaces[*id].functions.values().map(|function| (*id, function)))
    }

    pub(super) fn signature(&self, function: &Function, is_export: bool) -> wit_parser::abi::WasmSignature {
        let variant = if is_export { AbiVariant::GuestExport } else { AbiVariant::GuestImport };
        self.resolve.wasm_signature(variant, function)
    }

    pub(super) fn parameters(&self, function: &Function, package: &str) -> Result<String> {
        let mut parameters = Vec::new();
        for parameter in &function.params {
            let ty = self.go_type_in(&self.shape(&parameter.ty)?, package);
            parameters.push(format!("{} {ty}", camel(&parameter.name)));
        }
        Ok(parameters.join(", "))
    }

    /// The results of the Go function, as they stand behind its parameters.
    pub(super) fn results(&self, returned: &Returned, package: &str) -> String {
        let value = returned.value.as_ref().map(|(shape, _)| self.go_type_in(shape, package));
        let failure = returned.failure.map(|id| format!("*{package}{}", self.type_name(id)));
        match (value, failure) {
            (None, None) => String::new(),
            (Some(value), None) if matches!(returned.value, Some((Shape::OptionText, _))) => {
                format!(" ({value}, bool)")
            }
            (Some(one), None) | (None, Some(one)) => format!(" {one}"),
            (Some(value), Some(failure)) => format!(" ({value}, {failure})"),
        }
    }

    pub(super) fn returned(&self, function: &Function) -> Result<Returned> {
        let Some(ty) = &function.result else {
            return Ok(Returned { value: None, failure: None, offset: 0, bare: false });
        };
        let size = self.sizes.size(ty).size_wasm32();
        ensure!(
            size <= RESULT_BYTES,
            "`{}` gives back {size} bytes, more than `internal/abi` has room for",
            function.name
        );
        if !self.signature(function, false).retptr {
            ensure!(
                matches!(ty, Type::U32),
                "`{}` gives back a bare value that is no u32: this generator does not know that",
                function.name
            );
            return Ok(Returned { value: Some((Shape::Number, *ty)), failure: None, offset: 0, bare: true });
        }
        let kind = match ty {
            Type::Id(id) => &self.resolve.types[*id].kind,
            _ => &TypeDefKind::Type(*ty),
        };
        let TypeDefKind::Result(result) = kind else {
            return Ok(Returned { value: Some((self.shape(ty)?, *ty)), failure: None, offset: 0, bare: false });
        };
        let Some(Type::Id(failure)) = result.err else {
            bail!("`{}` fails with what is no type of the contract", function.name)
        };
        let value = result.ok.map(|ty| Ok::<_, anyhow::Error>((self.shape(&ty)?, ty))).transpose()?;
        let offset =
            self.sizes.payload_offset(wit_parser::Int::U8, [result.ok.as_ref(), result.err.as_ref()]).size_wasm32();
        Ok(Returned { value, failure: Some(self.original(failure)), offset, bare: false })
    }

    pub(super) fn shape(&self, ty: &Type) -> Result<Shape> {
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::U32 => Shape::Number,
            Type::String => Shape::Text,
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(ty) => self.shape(ty)?,
                TypeDefKind::List(Type::U8) => Shape::Bytes,
                TypeDefKind::List(ty) => Shape::List(Box::new(self.shape(ty)?), *ty),
                TypeDefKind::Option(ty) => match self.shape(ty)? {
                    Shape::Text => Shape::OptionText,
                    Shape::Bytes => Shape::OptionBytes,
                    Shape::Number => Shape::OptionNumber,
                    other => bail!("an option of {}: this generator does not know that", self.go_type(&other)),
                },
                TypeDefKind::Record(_) | TypeDefKind::Variant(_) | TypeDefKind::Enum(_) => Shape::Named(*id),
                other => bail!("a {}: this generator does not know that", other.as_str()),
            },
            other => bail!("the type {other:?}: this generator does not know that"),
        })
    }

    pub(super) fn go_type(&self, shape: &Shape) -> String {
        self.go_type_in(shape, "")
    }

    pub(super) fn go_type_in(&self, shape: &Shape, package: &str) -> String {
        match shape {
            Shape::Bool => "bool".to_owned(),
            Shape::Number => "uint32".to_owned(),
            Shape::Text | Shape::OptionText => "string".to_owned(),
            Shape::Bytes | Shape::OptionBytes => "[]byte".to_owned(),
            Shape::OptionNumber => "*uint32".to_owned(),
            Shape::List(item, _) => format!("[]{}", self.go_type_in(item, package)),
            Shape::Named(id) => format!("{package}{}", self.type_name(*id)),
        }
    }

    /// The type behind its other names: `use types.{event}` makes one.
    pub(super) fn original(&self, mut id: TypeId) -> TypeId {
        while let TypeDefKind::Type(Type::Id(other)) = &self.resolve.types[id].kind {
            id = *other;
        }
        id
    }

    pub(super) fn type_name(&self, id: TypeId) -> String {
        pascal(self.resolve.types[self.original(id)].name.as_deref().unwrap_or_default())
    }

    pub(super) fn interface(&self, id: InterfaceId) -> &str {
        self.resolve.interfaces[id].name.as_deref().unwrap_or_default()
    }

    pub(super) fn interface_path(&self, id: InterfaceId) -> String {
        self.resolve.id_of(id).unwrap_or_default()
    }

    pub(super) fn function_name(&self, interface: InterfaceId, function: &Function) -> String {
        pascal(self.interface(interface)) + &pascal(&function.name)
    }

    pub(super) fn function_documentation(&self, interface: InterfaceId, function: &Function) -> String {
        let name = self.function_name(interface, function);
        format!("// {name} calls {}.{}.\n//\n", self.interface(interface), function.name)
            + &self.documentation(&function.docs, "", "")
    }

    /// WIT's documentation as Go's comments; `otherwise` where there is none.
    pub(super) fn documentation(&self, docs: &Docs, indent: &str, otherwise: &str) -> String {
        let text = docs.contents.as_deref().unwrap_or(otherwise).trim_end();
        text.lines().map(|line| format!("{indent}// {line}").trim_end().to_owned() + "\n").collect()
    }
}

/// `stable-id` as `StableID`.
pub(super) fn pascal(name: &str) -> String {
    let word = |word: &str| match word {
        "id" => "ID".to_owned(),
        _ => word[..1].to_uppercase() + &word[1..],
    };
    name.split('-').map(word).collect()
}

/// `stable-id` as `stableID`.
pub(super) fn camel(name: &str) -> String {
    match name.split_once('-') {
        Some((first, rest)) => first.to_owned() + &pascal(rest),
        None => name.to_owned(),
    }
}
