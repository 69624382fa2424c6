//! A transform that keeps the rows for which an expression in CEL, the Common Expression Language, is true.
//!
//! Read in this order: `component` (what the host calls), `options`, `condition` (the expression),
//! `names` (what it names), `row` (the values of one row).
mod component;
mod condition;
mod names;
mod options;
mod row;

/// What `wit/` looks like in Rust.
#[allow(missing_docs, unsafe_code, clippy::all, clippy::restriction)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "transform-guest" });
}
