//! What `wit-bindgen` makes of the contract in `wit/`. Only compiled for Wasm.
//!
//! One world for each export: the macro that exports it puts the world's description into the component, so a plugin has the
//! exports that it chose and the imports that it uses. A projection that answers queries has two of them, which together are
//! the contract's `projection-with-queries`; generating that world too would define the export of `apply` twice. The worlds
//! share the types and the imports that they have in common.

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

pub mod projection {
    wit_bindgen::generate!({
        path: "wit",
        world: "projection",
        with: {
            "tidemill:plugin/types@0.2.0": ::tidemill_sdk::bindings::tidemill::plugin::types,
            "tidemill:plugin/log@0.2.0": ::tidemill_sdk::bindings::tidemill::plugin::log,
            "tidemill:plugin/config@0.2.0": ::tidemill_sdk::bindings::tidemill::plugin::config,
            "tidemill:plugin/host@0.2.0": ::tidemill_sdk::bindings::tidemill::plugin::host,
        },
        pub_export_macro: true,
        export_macro_name: "export_projection",
        default_bindings_module: "::tidemill_sdk::bindings::projection",
        runtime_path: "::tidemill_sdk::__private::wit_bindgen::rt",
    });
}

pub mod queries {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package tidemill:sdk;

            world queries {
                export tidemill:plugin/queries@0.2.0;
            }
        ",
        world: "tidemill:sdk/queries",
        with: { "tidemill:plugin/types@0.2.0": ::tidemill_sdk::bindings::tidemill::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_queries",
        default_bindings_module: "::tidemill_sdk::bindings::queries",
        runtime_path: "::tidemill_sdk::__private::wit_bindgen::rt",
    });
}
