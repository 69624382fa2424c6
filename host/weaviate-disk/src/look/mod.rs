//! What a class holds, without reading rows.
pub(crate) mod estimate;
pub(crate) mod inspect;
