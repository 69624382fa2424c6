//! Settings as the operator can be shown them.

/// One setting, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedSetting {
    /// The name of the variable.
    pub name: &'static str,
    /// Its value, of secrets only their number.
    pub value: String,
    /// Where the value comes from.
    pub source: SettingSource,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// The environment, under this name.
    Variable(&'static str),
    /// The program.
    Default,
}
