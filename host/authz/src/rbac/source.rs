//! Where a policy comes from: a file, its version, and the users that the settings add.
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use semver::Version;

use super::lines::{LineError, Lines};
use super::pattern::{RESOURCES, VERBS};
use super::policy::RbacPolicy;
use crate::config::AuthorizationAction;
use crate::files::{self, Fingerprint};

/// Of a policy file: a million lines.
const MAX_BYTES: u64 = 128 << 20;
const MAX_VERSION_BYTES: u64 = 100;
/// The server writes the file in place, so it is read again if it changed within this time.
const SETTLED: Duration = Duration::from_millis(20);
const TRIES: usize = 50;

/// `docs/format/rbac.md` 2.
const BUILT_IN: [(&str, &str); 4] = [
    (ROOT, "(C)|(R)|(U)|(D)|(A)"),
    ("role:admin", "(C)|(R)|(U)|(D)|(A)"),
    ("role:viewer", "R"),
    (READ_ONLY, "R"),
];
/// The role that may do everything.
pub(crate) const ROOT: &str = "role:root";
/// The role that may read everything.
pub(crate) const READ_ONLY: &str = "role:read-only";

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file or its metadata cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no file.
    #[error(
        "{path} is not there: start Weaviate once with AUTHORIZATION_RBAC_ENABLED=true, or set policy_file"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The server was older than the form of policies that is read here.
    #[error(
        "{path} says that the policy was written by Weaviate {version}, before 1.30, when roles had another form: \
         start a newer Weaviate once, or set policy_file"
    )]
    OldVersion {
        /// The file with the version.
        path: PathBuf,
        /// What it says, or "1.29.0 (no such file)".
        version: String,
    },
    /// No version.
    #[error(
        "{path} has '{text}' in place of a version of Weaviate: set policy_file, or restore the file"
    )]
    NoVersion {
        /// The file with the version.
        path: PathBuf,
        /// Its beginning.
        text: String,
    },
    /// A line that Weaviate does not write.
    #[error("{path}, line {line}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with the line.
        source: LineError,
    },
    /// No line at all, which Weaviate does not write either.
    #[error(
        "{path} is empty: start Weaviate once with AUTHORIZATION_RBAC_ENABLED=true, or write a policy into it"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A user or group of the settings cannot be in a policy.
    #[error("the settings name a user or group of the wrong form: {0}")]
    Settings(LineError),
    /// casbin does not take the policy.
    #[error("casbin does not take the policy of {path}: {reason}")]
    Casbin {
        /// The file.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// It changes all the time.
    #[error("{path} changed each time that it was read: try again")]
    Unsettled {
        /// The file.
        path: PathBuf,
    },
    /// The thread that looks for changes.
    #[error("cannot start the thread that looks for changes of {path}: {source}")]
    Thread {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A policy file and what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct PolicySource {
    pub path: PathBuf,
    /// The file with the version of the server that wrote the policy; a policy of our own has none.
    pub version: Option<PathBuf>,
    /// Subjects and roles of the settings.
    pub assignments: Vec<(String, &'static str)>,
    pub action: AuthorizationAction,
}

/// What changes when one of the files does.
pub(super) type Fingerprints = [Fingerprint; 2];

impl PolicySource {
    pub(super) fn fingerprints(&self) -> Result<Fingerprints, PolicyError> {
        let of = |path: &Path| {
            files::fingerprint(path)
                .map_err(|source| PolicyError::Read { path: path.to_owned(), source })
        };
        let version = self.version.as_deref().map(of).transpose()?;
        Ok([of(&self.path)?, version.flatten()])
    }

    /// Reads a policy that nobody is writing. Blocks.
    pub(super) fn load(&self) -> Result<(RbacPolicy, Fingerprints), PolicyError> {
        for _ in 0..TRIES {
            let before = self.fingerprints()?;
            let bytes = self.read(&self.path, MAX_BYTES)?;
            let version = self.check_version();
            thread::sleep(SETTLED);
            if self.fingerprints()? != before {
                continue;
            }
            version?;
            let bytes = bytes.ok_or_else(|| PolicyError::Missing { path: self.path.clone() })?;
            return Ok((self.policy(&bytes)?, before));
        }
        Err(PolicyError::Unsettled { path: self.path.clone() })
    }

    fn policy(&self, bytes: &[u8]) -> Result<RbacPolicy, PolicyError> {
        RESOURCES.clean();
        VERBS.clean();
        let mut lines = Lines::parse(bytes).map_err(|(line, source)| PolicyError::Line {
            path: self.path.clone(),
            line,
            source,
        })?;
        if lines.permissions.is_empty() && lines.assignments.is_empty() {
            // The server truncates the file before it writes it.
            return Err(PolicyError::Empty { path: self.path.clone() });
        }
        for (role, verbs) in BUILT_IN {
            if !lines.permissions.iter().any(|permission| permission.role == role) {
                lines.permit(role, "*", verbs, "*").map_err(PolicyError::Settings)?;
            }
        }
        for (subject, role) in &self.assignments {
            lines.assign(subject, role).map_err(PolicyError::Settings)?;
        }
        RbacPolicy::new(lines, self.action).map_err(|error| PolicyError::Casbin {
            path: self.path.clone(),
            reason: error.to_string(),
        })
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PolicyError> {
        files::read(path, limit)
            .map_err(|source| PolicyError::Read { path: path.to_owned(), source })
    }

    /// `docs/format/rbac.md` 1.
    fn check_version(&self) -> Result<(), PolicyError> {
        let Some(path) = self.version.clone() else { return Ok(()) };
        let Some(bytes) = self.read(&path, MAX_VERSION_BYTES)? else {
            return Err(PolicyError::OldVersion {
                path,
                version: "1.29.0 (no such file)".to_owned(),
            });
        };
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        match Version::parse(text.trim_start_matches('v')) {
            Ok(version) if (version.major, version.minor) >= (1, 30) => Ok(()),
            Ok(_) => Err(PolicyError::OldVersion { path, version: text }),
            Err(_) => Err(PolicyError::NoVersion { path, text }),
        }
    }
}
