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

    /// casbin takes milliseconds for a decision, so for many it is asked for the principal's permissions
    /// once, and these are matched with all resources. A test below compares both ways.
    fn permits_classes(
        &self,
        principal: &Principal,
        action: Action,
        classes: &[&str],
    ) -> Vec<bool> {
        let (_, verb) = whole_class(self.action, action, "");
        let request = |class: &&str| whole_class(self.action, action, class).0;
        let requests: Vec<String> = classes.iter().map(request).collect();
        match_any(&self.patterns(principal, verb), &requests)
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

    /// As [`Policy::permits_classes`].
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    const CLASSES: [&str; 6] = ["A", "AB", "Bc", "one:A", "two:AB", "a:b:A"];
    const TENANTS: [&str; 9] = ["a", "ab", "b", "t1", "t2", "T_1-x", "*", "#", "a?b"];

    fn resource() -> impl Strategy<Value = String> {
        let whole = select(vec![
            "*",
            ".*",
            "data/*",
            "data/collections/.*",
            "schema/collections/.*/shards/#",
            "data/collections/A",
            "backups/collections/A",
            "wv_internal_empty",
        ]);
        let classes = select(vec![
            "A", "AB", "A.*", ".*", "*", "(A|Bc)", "one:A", "one:.*", ".", "A|Bc", "{c}",
        ]);
        let tenants = select(vec![
            "a", "b", "t1", "t.*", ".*", "*", "[ab]", "[^a]", "(a|t2)", "a|b", "t[0-9]+", "{t}",
            "#", "a.b",
        ]);
        let objects = select(vec!["*", ".*", "x", "{o}"]);
        let parts = (classes, tenants, objects).prop_map(|(class, tenant, object)| {
            format!("data/collections/{class}/shards/{tenant}/objects/{object}")
        });
        prop_oneof![1 => whole.prop_map(str::to_owned), 4 => parts]
    }

    fn text() -> impl Strategy<Value = String> {
        let role = || select(vec!["role:x", "role:y", "role:z"]);
        let verbs = select(vec!["R", "C", "(C)|(R)", ".*", "U", "[RU]", "^R$"]);
        let permission = (role(), resource(), verbs)
            .prop_map(|(role, resource, verb)| format!("p, {role}, {resource}, {verb}, data\n"));
        let subjects =
            select(vec!["db:u", "oidc:u", "group:g", "group:h x", "db:v", "db:wv_internal_empty"]);
        let assignment =
            (subjects, role()).prop_map(|(subject, role)| format!("g, {subject}, {role}\n"));
        let lines = |line| prop::collection::vec(line, 0..8);
        (lines(permission.boxed()), lines(assignment.boxed()))
            .prop_map(|(permissions, assignments)| [permissions, assignments].concat().concat())
    }

    fn principal() -> impl Strategy<Value = Principal> {
        let kinds = select(vec![PrincipalKind::Db, PrincipalKind::Oidc, PrincipalKind::Anonymous]);
        let names = select(vec!["u", "v", "w", NOBODY]);
        let groups = subsequence(vec!["g", "h x", "i"], 0..3);
        (kinds, names, groups).prop_map(|(kind, name, groups)| Principal {
            kind,
            name: name.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
        })
    }

    fn policy(text: &str, action: AuthorizationAction) -> RbacPolicy {
        RbacPolicy::new(Lines::parse(text.as_bytes()).unwrap(), action).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// The two ways to decide. The tenants are real names and some that only a mistake could make.
        #[test]
        fn matching_many_tenants_agrees_with_casbin(text in text(), principal in principal()) {
            let policy = policy(&text, AuthorizationAction::Read);
            let whole = policy.permits_classes(&principal, Action::Export, &CLASSES);
            for (class, whole) in CLASSES.into_iter().zip(whole) {
                prop_assert_eq!(whole, policy.permits(&principal, Action::Export, class), "{}", text);
                let found = policy.permits_tenants(&principal, Action::Export, class, &TENANTS);
                for (tenant, found) in TENANTS.iter().zip(found) {
                    let enforced = policy.enforce(&principal, &objects(class, tenant), "R");
                    prop_assert_eq!(found, enforced, "{} {} {} {}", text, principal, class, tenant);
                }
                if policy.permits_every_class(&principal, Action::Export) {
                    prop_assert!(policy.permits(&principal, Action::Export, class), "{text}");
                }
            }
        }
    }

    #[test]
    fn managing_backups_asks_for_another_verb_for_each_action() {
        let text = "p, role:x, backups/collections/A.*, C, backups\n\
                    p, role:y, backups/collections/.*, (R)|(D), backups\n\
                    g, db:u, role:x\ng, db:v, role:y";
        let policy = policy(text, AuthorizationAction::ManageBackups);
        let user = |name| Principal::new(PrincipalKind::Db, name);
        for (name, action, class, expected, every) in [
            ("u", Action::Export, "AB", true, false),
            ("u", Action::Export, "B", false, false),
            ("u", Action::Status, "AB", false, false),
            ("v", Action::Export, "AB", false, false),
            ("v", Action::Status, "AB", true, true),
            ("v", Action::Cancel, "one:AB", true, true),
        ] {
            let user = user(name);
            assert_eq!(policy.permits(&user, action, class), expected, "{name} {action:?} {class}");
            assert_eq!(policy.permits_classes(&user, action, &[class]), [expected]);
            assert_eq!(policy.permits_tenants(&user, action, class, &["a", "b"]), [expected; 2]);
            assert_eq!(policy.permits_every_class(&user, action), every, "{name} {action:?}");
        }
    }

    #[test]
    fn a_pattern_for_some_classes_is_not_for_every_class() {
        let user = Principal::new(PrincipalKind::Db, "u");
        for (resource, expected) in [
            ("*", true),
            ("data/collections/*", true),
            ("data/collections/.*/shards/.*/objects/.*", true),
            ("data/collections/*/shards/*/objects/*", true),
            // It matches the name `*`, and not every class.
            ("data/collections/[^A].*/shards/.*/objects/.*", false),
            ("data/collections/.*/shards/a/objects/.*", false),
            ("data/collections/.*/shards/.*/objects/x", false),
            ("schema/collections/.*", false),
        ] {
            let text = format!("p, role:x, {resource}, R, data\ng, db:u, role:x");
            let policy = policy(&text, AuthorizationAction::Read);
            assert_eq!(policy.permits_every_class(&user, Action::Status), expected, "{resource}");
        }
    }

    /// Prints numbers and holds nothing to them.
    #[test]
    #[ignore = "a measurement"]
    fn how_long_decisions_take() {
        let classes: Vec<String> = (0..1_000).map(|number| format!("Class{number}")).collect();
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        let names: Vec<String> = (0..100_000).map(|number| format!("tenant{number}")).collect();
        let tenants: Vec<&str> = names.iter().map(String::as_str).collect();
        let user = Principal::new(PrincipalKind::Db, "u");
        let line = |role: usize, tenant: String| {
            format!(
                "p, role:r{role}, data/collections/A/shards/{tenant}/objects/.*, R, data\n\
                 g, db:u, role:r{role}\n"
            )
        };
        for (name, pattern) in [
            ("exact tenants", "tenant{}"),
            ("tenants by prefix", "tenant{}.*"),
            ("tenants by an inner part", ".*nant.*{}x.*"),
            ("alternatives", "(tenant{}|other{}|more{}x.*)"),
        ] {
            for (roles, lines) in [(1, 1_000), (1_000, 1_000), (1, 2_000)] {
                let text: String = (0..lines)
                    .map(|number| line(number % roles, pattern.replace("{}", &number.to_string())))
                    .collect();
                let begun = Instant::now();
                let policy = policy(&text, AuthorizationAction::Read);
                let loaded = begun.elapsed();
                let begun = Instant::now();
                let found = policy.permits_tenants(&user, Action::Export, "A", &tenants);
                let decided = begun.elapsed();
                let begun = Instant::now();
                policy.permits(&user, Action::Export, "A");
                let one = begun.elapsed();
                let begun = Instant::now();
                policy.permits_classes(&user, Action::Export, &classes);
                let many = begun.elapsed();
                let found = found.into_iter().filter(|found| *found).count();
                println!(
                    "{name}: {lines} lines, {roles} roles: loaded in {loaded:.0?}, {found} of 100000 \
                     tenants in {decided:.0?}, 1000 classes in {many:.0?}, one decision of casbin {one:.1?}"
                );
            }
        }
    }
}
