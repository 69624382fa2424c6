//! What `wit/` looks like in Rust on the host's side.
#![allow(missing_docs, clippy::all, clippy::restriction)]
wasmtime::component::bindgen!({
    path: "../../wit",
    world: "exporter-guest",
    exports: { default: async },
    with: {
        "offloom:export/source.cursor": crate::cursor::GuestCursor,
        "offloom:export/sink.output": crate::sink::Output,
    },
});
