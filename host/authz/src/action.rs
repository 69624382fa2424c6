//! What a principal may be allowed to do with a class.

/// What a principal asks to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read the objects of a class.
    Read,
}
