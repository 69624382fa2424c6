//! The settings of guests: which transforms the operator requires.
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

/// The settings of the table `guests`.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct GuestRules {
    /// The table.
    #[command(flatten)]
    pub guests: GuestsConfig,
}

/// What guests must and may do.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestsConfig {
    /// Transforms that rows must pass, whatever a request asks for: a TOML file
    #[arg(
        id = "guests.policy_file",
        long = "guests-policy-file",
        env = "OFFLOOM_GUESTS__POLICY_FILE",
        value_name = "FILE"
    )]
    pub policy_file: Option<PathBuf>,
}
