//! The lines of a policy file, each checked before casbin sees it.
use std::sync::Arc;

use regex::Regex;

use super::pattern::{self, ResourcePattern};
use crate::principal::NOBODY;

/// What a line should be (`docs/format/rbac.md` 2).
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Neither `p` nor `g`.
    #[error("it begins with '{0}' and not with p or g")]
    Kind(String),
    /// Too many or too few fields.
    #[error("it has {found} fields and not {expected}")]
    Fields {
        /// How many it has.
        found: usize,
        /// How many its kind has.
        expected: usize,
    },
    /// A quoted field, which Weaviate does not write.
    #[error("it has a quoted field")]
    Quoted,
    /// A role without its prefix.
    #[error("'{0}' is no role: a role begins with role:")]
    Role(String),
    /// A subject without its prefix, or another role.
    #[error("'{0}' is no user or group: a subject begins with db:, oidc: or group:")]
    Subject(String),
    /// An expression that cannot be compiled, or is too large.
    #[error("'{pattern}' is no pattern: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: regex::Error,
    },
    /// Not the encoding of text.
    #[error("it is not UTF-8")]
    NotText,
}

/// Patterns of a resource and of verbs.
pub(super) type Compiled = (Arc<ResourcePattern>, Arc<Regex>);

/// A permission of a role.
#[derive(Debug, Clone)]
pub(super) struct Permission {
    pub role: String,
    pub resource: String,
    pub verb: String,
    pub domain: String,
    pub compiled: Compiled,
}

/// The lines of a policy.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub permissions: Vec<Permission>,
    /// Subjects with their roles.
    pub assignments: Vec<(String, String)>,
}

impl Lines {
    /// # Errors
    /// The number of the line, from 1, and what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Lines, (usize, LineError)> {
        let mut lines = Lines::default();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = str::from_utf8(line).map_err(|_| (number, LineError::NotText))?.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.add(line).map_err(|error| (number, error))?;
            }
        }
        Ok(lines)
    }

    fn add(&mut self, line: &str) -> Result<(), LineError> {
        let fields: Vec<&str> = line.split(',').map(str::trim_start).collect();
        if fields.iter().any(|field| field.starts_with('"')) {
            return Err(LineError::Quoted);
        }
        match fields.as_slice() {
            ["p", role, resource, verb, domain] => self.permit(role, resource, verb, domain),
            ["g", subject, role] => self.assign(subject, role),
            ["p", ..] => Err(LineError::Fields { found: fields.len(), expected: 5 }),
            ["g", ..] => Err(LineError::Fields { found: fields.len(), expected: 3 }),
            [kind, ..] => Err(LineError::Kind((*kind).to_owned())),
            [] => Ok(()),
        }
    }

    pub(super) fn permit(
        &mut self,
        role: &str,
        resource: &str,
        verb: &str,
        domain: &str,
    ) -> Result<(), LineError> {
        let no_pattern = |text: &str| {
            let pattern = text.to_owned();
            |source| LineError::Pattern { pattern, source }
        };
        let compiled = (
            pattern::resource(resource).map_err(no_pattern(resource))?,
            pattern::verb(verb).map_err(no_pattern(verb))?,
        );
        self.permissions.push(Permission {
            role: checked_role(role)?,
            resource: resource.to_owned(),
            verb: verb.to_owned(),
            domain: domain.to_owned(),
            compiled,
        });
        Ok(())
    }

    pub(super) fn assign(&mut self, subject: &str, role: &str) -> Result<(), LineError> {
        let name = ["db:", "oidc:", "group:"].iter().find_map(|kind| subject.strip_prefix(kind));
        let role = checked_role(role)?;
        match name {
            None | Some("") => Err(LineError::Subject(subject.to_owned())),
            Some(NOBODY) => Ok(()),
            Some(_) => {
                self.assignments.push((subject.to_owned(), role));
                Ok(())
            }
        }
    }
}

fn checked_role(role: &str) -> Result<String, LineError> {
    match role.strip_prefix("role:") {
        None | Some("") => Err(LineError::Role(role.to_owned())),
        Some(_) => Ok(role.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let (line, error) = Lines::parse(text.as_bytes()).unwrap_err();
        format!("{line}: {error}")
    }

    #[test]
    fn lines_that_weaviate_does_not_write_are_refused_with_their_number() {
        let good = "p, role:r, data/.*, R, data\ng, db:a, role:r\n";
        assert!(Lines::parse(good.as_bytes()).is_ok());
        for (line, expected) in [
            ("q, role:r, data/.*, R, data", "begins with 'q'"),
            ("p, role:r, data/.*, R", "4 fields and not 5"),
            ("p, role:r, data/.*, R, data, more", "6 fields and not 5"),
            ("g, db:a", "2 fields and not 3"),
            ("g, role:admin, role:root", "'role:admin' is no user"),
            ("g, alice, role:r", "'alice' is no user"),
            ("g, user:alice, role:r", "'user:alice' is no user"),
            ("g, db:, role:r", "'db:' is no user"),
            ("g, db:alice, db:root", "'db:root' is no role"),
            ("p, db:alice, data/.*, R, data", "'db:alice' is no role"),
            ("p, role:r, data/(, R, data", "'data/(' is no pattern"),
            ("p, role:r, data/.*, (R, data", "'(R' is no pattern"),
            ("g, \"db:a\", role:r", "quoted"),
        ] {
            let found = error(&format!("{good}{line}"));
            assert!(found.starts_with("3: ") && found.contains(expected), "{line}: {found}");
        }
        let (line, _) = Lines::parse(b"g, db:a, role:r\ng, db:\xff, role:r").unwrap_err();
        assert_eq!(line, 2);
    }

    #[test]
    fn subjects_keep_spaces_and_the_placeholder_has_no_roles() {
        let text = "# comment\n\ng, group:/admins x, role:r\r\ng, db:wv_internal_empty, role:r";
        let lines = Lines::parse(text.as_bytes()).unwrap();
        assert_eq!(lines.assignments, [("group:/admins x".to_owned(), "role:r".to_owned())]);
    }
}
