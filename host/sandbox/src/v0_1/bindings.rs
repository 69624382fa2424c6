//! The host's side of `wit/` in Rust, generated.
#![allow(missing_docs, clippy::all, clippy::restriction)]
wasmtime::component::bindgen!({
    path: "../../wit",
    world: "exporter-guest",
    exports: { default: async },
    with: {
        "offloom:export/source.cursor": crate::v0_1::cursor::GuestCursor,
        "offloom:export/held.buffer": crate::v0_1::held::Buffer,
        "offloom:export/sink.output": crate::v0_1::sink::Output,
    },
});

/// The other world, with the same types.
pub(crate) mod transform {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "transform-guest",
        exports: { default: async },
        with: { "offloom:export/types": crate::v0_1::bindings::offloom::export::types },
    });
}
