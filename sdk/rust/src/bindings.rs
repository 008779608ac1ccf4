//! What `wit-bindgen` makes of the contract in `wit/`. Only compiled for Wasm.

#![allow(unsafe_code, reason = "generated: the component boundary is made of raw memory")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, unreachable_pub, reason = "generated")]
#![allow(missing_docs, reason = "the contract's own text is the documentation")]

wit_bindgen::generate!({
    path: "wit",
    world: "handler",
    pub_export_macro: true,
    export_macro_name: "export_handler",
    default_bindings_module: "::tidemill_sdk::bindings",
    runtime_path: "::tidemill_sdk::__private::wit_bindgen::rt",
});
