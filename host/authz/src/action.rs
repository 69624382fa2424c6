//! What a principal may be allowed to do with a class.

/// What a principal asks to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Export the objects of a class.
    Export,
    /// See the status of an export of the class.
    Status,
    /// Cancel an export of the class.
    Cancel,
}
