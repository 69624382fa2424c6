//! The one who asks, and why a request may have none.
use std::fmt;

/// The placeholder that every role of a policy is assigned to (`docs/format/rbac.md` 2). Nobody may come
/// in under that name.
pub(crate) const NOBODY: &str = "wv_internal_empty";

/// The one who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Where the name comes from. Equal names of two kinds are two principals.
    pub kind: PrincipalKind,
    /// The name, unique within its kind.
    pub name: String,
    /// Groups of an identity provider. They are part of one request's credentials, not of who it is.
    pub groups: Vec<String>,
}

/// Where the name of a principal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// Nobody has asked for a name.
    Anonymous,
    /// A user of the command line: the rights of the process decide what can be read.
    CommandLine,
    /// A user with an API key, static or dynamic.
    Db,
    /// A user of an identity provider.
    Oidc,
}

impl Principal {
    /// A principal without groups.
    pub fn new(kind: PrincipalKind, name: impl Into<String>) -> Principal {
        Principal { kind, name: name.into(), groups: Vec::new() }
    }

    /// The one without a name.
    pub fn anonymous() -> Principal {
        Principal::new(PrincipalKind::Anonymous, "anonymous")
    }

    /// The one who started this process.
    pub fn on_command_line() -> Principal {
        Principal::new(PrincipalKind::CommandLine, "user")
    }
}

impl fmt::Display for Principal {
    /// As claims, the index and the log name it: `db:alice`, `oidc:alice`, `anonymous`, `command line`.
    /// Policies have users in the same form (`docs/format/rbac.md` 2).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PrincipalKind::Anonymous => formatter.write_str("anonymous"),
            PrincipalKind::CommandLine => formatter.write_str("command line"),
            PrincipalKind::Db => write!(formatter, "db:{}", self.name),
            PrincipalKind::Oidc => write!(formatter, "oidc:{}", self.name),
        }
    }
}
