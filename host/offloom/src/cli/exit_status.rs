//! The exit status of a command: what a script learns of its end (`docs/export.md`, Exit status).
use std::process::ExitCode;

use crate::signals::StopSignal;

/// All of it was done, but a part of the source is missing, as was allowed.
pub const PARTIAL: u8 = 3;

/// An error that ends a command with another status than 1.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line is wrong. Nothing was read or written.
    #[error("{0}")]
    Usage(#[source] anyhow::Error),
    /// A signal stopped the command, which cleaned up first.
    #[error("{source}")]
    Stopped {
        /// The signal.
        signal: StopSignal,
        /// What the command says of its end.
        source: anyhow::Error,
    },
}

impl CommandError {
    /// Takes an error of an argument's value.
    pub fn usage(error: impl Into<anyhow::Error>) -> CommandError {
        CommandError::Usage(error.into())
    }
}

/// The exit status of a command that ended with `error`.
pub fn of_error(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(match error.downcast_ref() {
        // As clap has it, and most programs.
        Some(CommandError::Usage(_)) => 2,
        // 128 and the signal's number, as a shell reports a program that a signal has ended.
        Some(CommandError::Stopped { signal, .. }) => signal.exit_status(),
        None => 1,
    })
}
