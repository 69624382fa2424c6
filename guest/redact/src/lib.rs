//! A transform that drops, hashes or masks properties. The rest of a row stays byte for byte.
//!
//! Read in this order: `component` (what the host calls), `options`, `definition` (whether the class has
//! the properties), `rewrite` (the JSON of one row).
mod component;
mod definition;
mod options;
mod rewrite;

/// What `wit/` looks like in Rust.
#[allow(missing_docs, unsafe_code, clippy::all, clippy::restriction)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "transform-guest" });
}
