//! What `wit/` looks like in Rust.
#![allow(missing_docs, clippy::all)]
wit_bindgen::generate!({
    path: "../../wit",
    world: "exporter-guest",
    pub_export_macro: true,
});
