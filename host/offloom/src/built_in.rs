//! The guests that are part of the program, built by `build.rs`.

/// The name of the exporter.
pub const PARQUET: &str = "parquet";

/// Names and components of the exporters.
pub static EXPORTERS: [(&str, &[u8]); 1] =
    [(PARQUET, include_bytes!(env!("OFFLOOM_GUEST_WASM_PATH")))];

/// Names and components of the transforms.
pub static TRANSFORMS: [(&str, &[u8]); 2] = [
    ("filter", include_bytes!(env!("OFFLOOM_FILTER_WASM_PATH"))),
    ("redact", include_bytes!(env!("OFFLOOM_REDACT_WASM_PATH"))),
];

/// The component of a guest of either kind.
pub fn component(name: &str) -> Option<&'static [u8]> {
    exporter(name).or_else(|| transform(name))
}

/// The component of a transform.
pub fn transform(name: &str) -> Option<&'static [u8]> {
    find(&TRANSFORMS, name)
}

/// The component of an exporter.
pub fn exporter(name: &str) -> Option<&'static [u8]> {
    find(&EXPORTERS, name)
}

/// Names of all guests.
pub fn names() -> impl Iterator<Item = &'static str> {
    EXPORTERS.iter().chain(&TRANSFORMS).map(|(name, _)| *name)
}

/// Names of the transforms.
pub fn transform_names() -> String {
    TRANSFORMS.map(|(name, _)| name).join(" and ")
}

fn find(guests: &[(&str, &'static [u8])], name: &str) -> Option<&'static [u8]> {
    guests.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}
