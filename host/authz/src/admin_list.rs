//! Weaviate's admin list: users who may do everything, and users who may read.
use std::sync::Arc;

use crate::action::Action;
use crate::authorizer::{Authorizer, Policy};
use crate::config::{AdminListConfig, AuthorizationAction};
use crate::principal::{NOBODY, Principal, PrincipalKind};
use crate::rbac::backup_verb;

/// The lists (`docs/format/rbac.md` 3.4). They do not change.
pub(crate) struct AdminList(Arc<Lists>);

struct Lists {
    lists: AdminListConfig,
    action: AuthorizationAction,
}

impl AdminList {
    pub(crate) fn new(lists: AdminListConfig, action: AuthorizationAction) -> AdminList {
        AdminList(Arc::new(Lists { lists, action }))
    }
}

impl Authorizer for AdminList {
    fn policy(&self) -> Arc<dyn Policy> {
        Arc::clone(&self.0) as Arc<dyn Policy>
    }
}

impl Policy for Lists {
    fn permits(&self, principal: &Principal, action: Action, _: &str) -> bool {
        self.permits_every_class(principal, action)
    }

    fn permits_every_class(&self, principal: &Principal, action: Action) -> bool {
        // On the command line the rights of the process count, and it asks nobody.
        if principal.kind == PrincipalKind::CommandLine || principal.name == NOBODY {
            return false;
        }
        let is_on = |users: &[String], groups: &[String]| {
            users.contains(&principal.name)
                || principal.groups.iter().any(|group| groups.contains(group))
        };
        let verb = match self.action {
            AuthorizationAction::Read => "R",
            AuthorizationAction::ManageBackups => backup_verb(action),
        };
        let lists = &self.lists;
        is_on(&lists.users, &lists.groups)
            || verb == "R" && is_on(&lists.readonly_users, &lists.readonly_groups)
    }

    fn permits_tenants(
        &self,
        principal: &Principal,
        action: Action,
        class: &str,
        tenants: &[&str],
    ) -> Vec<bool> {
        vec![self.permits(principal, action, class); tenants.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admins_do_everything_and_readers_what_is_a_read() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let lists = AdminListConfig {
            users: names(&["root"]),
            readonly_users: names(&["reader"]),
            groups: names(&["admins"]),
            readonly_groups: names(&["readers"]),
        };
        let user = |name: &str| Principal::new(PrincipalKind::Db, name);
        let member = |group: &str| Principal { groups: names(&[group]), ..user("somebody") };
        for (principal, reads, exports_as_backup) in [
            (user("root"), true, true),
            (member("admins"), true, true),
            (user("reader"), true, false),
            (member("readers"), true, false),
            (user("somebody"), false, false),
            (Principal::on_command_line(), false, false),
        ] {
            let by = |action| AdminList::new(lists.clone(), action).policy();
            let read = by(AuthorizationAction::Read);
            assert_eq!(read.permits(&principal, Action::Cancel, "A"), reads, "{principal}");
            assert_eq!(read.permits_tenants(&principal, Action::Export, "A", &["t"]), [reads]);
            let backup = by(AuthorizationAction::ManageBackups);
            assert_eq!(backup.permits(&principal, Action::Status, "A"), reads, "{principal}");
            for action in [Action::Export, Action::Cancel] {
                assert_eq!(backup.permits(&principal, action, "A"), exports_as_backup);
            }
        }
    }
}
