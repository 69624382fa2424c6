//! What a class holds, without making rows.
pub(crate) mod estimate;
pub(crate) mod inspect;
