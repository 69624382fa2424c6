//! One version of the roles, evaluated by casbin.
use std::collections::BTreeMap;
use std::sync::Arc;

use casbin::function_map::{OperatorFunction, dynamic_to_str};
use casbin::rhai::Dynamic;
use casbin::{CoreApi, DefaultModel, Enforcer, MgmtApi, NullAdapter, RbacApi};
use futures::executor::block_on;

use super::lines::{Compiled, Lines};
use super::pattern::{RESOURCES, ResourcePattern, VERBS, match_any};
use crate::action::Action;
use crate::authorizer::Policy;
use crate::config::AuthorizationAction;
use crate::principal::{NOBODY, Principal, PrincipalKind};

/// `docs/format/rbac.md` 3.
const MODEL: &str = "
[request_definition]
r = sub, obj, act, ns
[policy_definition]
p = sub, obj, act, dom
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && namespaceAwareMatcher(r.obj, p.obj, r.ns) && regexMatch(r.act, p.act)
";

/// Callers of a namespace do not come in.
const GLOBAL: &str = "";

/// Roles and who has them.
pub(super) struct RbacPolicy {
    enforcer: Enforcer,
    action: AuthorizationAction,
    /// Keeps the patterns for casbin's functions.
    _compiled: Vec<Compiled>,
}

impl RbacPolicy {
    /// # Errors
    /// What casbin says.
    pub(super) fn new(
        lines: Lines,
        action: AuthorizationAction,
    ) -> Result<RbacPolicy, casbin::Error> {
        let permissions = lines.permissions;
        let rules =
            unique(permissions.iter().map(|p| {
                vec![p.role.clone(), p.resource.clone(), p.verb.clone(), p.domain.clone()]
            }));
        let roles =
            unique(lines.assignments.into_iter().map(|(subject, role)| vec![subject, role]));
        // Nothing here waits: casbin's functions are async for adapters that do.
        let enforcer = block_on(async {
            let mut enforcer =
                Enforcer::new(DefaultModel::from_str(MODEL).await?, NullAdapter).await?;
            enforcer.enable_auto_save(false);
            enforcer.add_function("namespaceAwareMatcher", OperatorFunction::Arg3(resource_match));
            enforcer.add_function("regexMatch", OperatorFunction::Arg2(verb_match));
            enforcer.add_policies(rules).await?;
            enforcer.add_grouping_policies(roles).await?;
            Ok::<_, casbin::Error>(enforcer)
        })?;
        let compiled = permissions.into_iter().map(|permission| permission.compiled).collect();
        Ok(RbacPolicy { enforcer, action, _compiled: compiled })
    }

    /// casbin's own answer.
    fn enforce(&self, principal: &Principal, resource: &str, verb: &str) -> bool {
        subjects(principal).iter().any(|subject| {
            let request = (subject.as_str(), resource, verb, GLOBAL);
            self.enforcer.enforce(request).unwrap_or_else(|error| {
                tracing::error!(%error, "casbin cannot decide, which denies");
                false
            })
        })
    }

    /// The resource patterns of the principal's permissions with a verb, found by casbin.
    fn patterns(&self, principal: &Principal, verb: &str) -> Vec<Arc<ResourcePattern>> {
        let mut patterns = BTreeMap::new();
        for subject in subjects(principal) {
            for permission in self.enforcer.get_implicit_permissions_for_user(&subject, None) {
                if let [_, resource, verbs, _] = permission.as_slice()
                    && VERBS.get(verbs).is_some_and(|verbs| verbs.is_match(verb))
                    && let Some(pattern) = RESOURCES.get(resource)
                {
                    patterns.insert(resource.clone(), pattern);
                }
            }
        }
        patterns.into_values().collect()
    }
}

impl Policy for RbacPolicy {
    fn permits(&self, principal: &Principal, action: Action, class: &str) -> bool {
        let (resource, verb) = whole_class(self.action, action, class);
        self.enforce(principal, &resource, verb)
    }

    fn permits_every_class(&self, principal: &Principal, action: Action) -> bool {
        let (whole, verb) = whole_class(self.action, action, ".*");
        let whole = whole.replace("/*", "/.*");
        let root = match self.action {
            AuthorizationAction::Read => "data/collections/",
            AuthorizationAction::ManageBackups => "backups/collections/",
        };
        self.patterns(principal, verb).iter().any(|pattern| pattern.is_for_everything(root, &whole))
    }

    /// casbin takes milliseconds for a decision, so it is asked for the principal's permissions once, and
    /// these are matched with all tenants. `tests/policies` compares both ways.
    fn permits_tenants(
        &self,
        principal: &Principal,
        action: Action,
        class: &str,
        tenants: &[&str],
    ) -> Vec<bool> {
        match self.action {
            AuthorizationAction::ManageBackups => {
                vec![self.permits(principal, action, class); tenants.len()]
            }
            AuthorizationAction::Read => {
                let resource = |tenant: &&str| objects(class, tenant);
                let requests: Vec<String> = tenants.iter().map(resource).collect();
                match_any(&self.patterns(principal, "R"), &requests)
            }
        }
    }
}

/// `docs/format/rbac.md` 3.3.
fn whole_class(by: AuthorizationAction, action: Action, class: &str) -> (String, &'static str) {
    match (by, action) {
        (AuthorizationAction::Read, _) => (objects(class, "*"), "R"),
        (AuthorizationAction::ManageBackups, action) => {
            (format!("backups/collections/{class}"), backup_verb(action))
        }
    }
}

/// The verb of upstream's export.
pub(crate) fn backup_verb(action: Action) -> &'static str {
    match action {
        Action::Export => "C",
        Action::Status => "R",
        Action::Cancel => "D",
    }
}

fn objects(class: &str, tenant: &str) -> String {
    format!("data/collections/{class}/shards/{tenant}/objects/*")
}

/// Groups first, as upstream. Those without a user have no roles, and neither has the placeholder.
fn subjects(principal: &Principal) -> Vec<String> {
    match principal.kind {
        PrincipalKind::Anonymous | PrincipalKind::CommandLine => Vec::new(),
        PrincipalKind::Db | PrincipalKind::Oidc if principal.name == NOBODY => Vec::new(),
        PrincipalKind::Db | PrincipalKind::Oidc => {
            let groups = principal.groups.iter().filter(|group| *group != NOBODY);
            let mut subjects: Vec<_> = groups.map(|group| format!("group:{group}")).collect();
            subjects.push(principal.to_string());
            subjects
        }
    }
}

/// casbin takes no rule twice.
fn unique(rules: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    rules.filter(|rule| seen.insert(rule.clone())).collect()
}

/// A pattern that is not compiled is in no policy, and matches nothing.
fn resource_match(request: Dynamic, pattern: Dynamic, _namespace: Dynamic) -> Dynamic {
    let pattern = RESOURCES.get(&dynamic_to_str(&pattern));
    pattern.is_some_and(|pattern| pattern.matches(&dynamic_to_str(&request))).into()
}

fn verb_match(request: Dynamic, pattern: Dynamic) -> Dynamic {
    let pattern = VERBS.get(&dynamic_to_str(&pattern));
    pattern.is_some_and(|pattern| pattern.is_match(&dynamic_to_str(&request))).into()
}
