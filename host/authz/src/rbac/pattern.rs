//! The patterns of resources and verbs, each compiled once for all policies of this process.
use std::cell::LazyCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock, Weak};

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Of one compiled pattern.
const MAX_COMPILED: usize = 1 << 20;
/// Of a set of patterns.
const MAX_COMPILED_SET: usize = 32 << 20;

/// Patterns of a set.
const IN_ONE_SET: usize = 100;

/// Any one namespace (`docs/format/rbac.md` 3.1).
const ANY_NAMESPACE: &str = "[^/:]+:";

/// A resource pattern of a policy, as upstream's `namespaceAwareMatcher` matches it for a global caller.
#[derive(Debug)]
pub(super) struct ResourcePattern {
    text: String,
    plain: Regex,
    /// For requests that name a namespace. `None`: the same as `plain`.
    widened: Option<Widened>,
}

/// A pattern with a namespace put before its collection. Most are never needed, so it is compiled late.
#[derive(Debug)]
struct Widened {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl ResourcePattern {
    fn compile(text: &str) -> Result<ResourcePattern, regex::Error> {
        let plain = compile(&key_match_5(text))?;
        let widened = widen(text).map(|text| Widened { text, compiled: OnceLock::new() });
        Ok(ResourcePattern { text: text.to_owned(), plain, widened })
    }

    pub(super) fn matches(&self, request: &str) -> bool {
        // A request for the collection itself is none for its tenants (`docs/format/rbac.md` 3).
        if request.ends_with("/shards/#") && self.text.ends_with("/shards/.*") {
            return false;
        }
        self.expression(names_namespace(request))
            .is_some_and(|expression| expression.is_match(without_query(request)))
    }

    /// `None`: it is too large, and matches nothing.
    fn expression(&self, names_namespace: bool) -> Option<&Regex> {
        match &self.widened {
            Some(Widened { text, compiled }) if names_namespace => {
                compiled.get_or_init(|| compile(&key_match_5(text)).ok()).as_ref()
            }
            _ => Some(&self.plain),
        }
    }

    /// Whether it matches every resource that begins with `root`, for which `whole` stands.
    pub(super) fn is_for_everything(&self, root: &str, whole: &str) -> bool {
        let text = self.text.replace("/*", "/.*");
        matches!(text.as_str(), "*" | ".*") || text == whole || text == format!("{root}.*")
    }
}

/// Which of many requests at least one of `patterns` matches. Many patterns are in one automaton, so
/// that their number counts little, but not all: it grows with some kinds of them.
pub(super) fn match_any(patterns: &[Arc<ResourcePattern>], requests: &[String]) -> Vec<bool> {
    let mut found = vec![false; requests.len()];
    for patterns in patterns.chunks(IN_ONE_SET) {
        let [plain, widened] = [false, true].map(|names_namespace| {
            LazyCell::new(move || {
                set(patterns.iter().filter_map(|p| p.expression(names_namespace)))
            })
        });
        let is_match = |request: &String| {
            let set = if names_namespace(request) { &*widened } else { &*plain };
            match set {
                // The exception for `/shards/#` is about requests that are not made here.
                Some(set) => set.is_match(without_query(request)),
                None => patterns.iter().any(|pattern| pattern.matches(request)),
            }
        };
        for (request, found) in requests.iter().zip(&mut found).filter(|(_, found)| !**found) {
            *found = is_match(request);
        }
    }
    found
}

/// `None`: together they are too large.
fn set<'a>(expressions: impl Iterator<Item = &'a Regex>) -> Option<RegexSet> {
    RegexSetBuilder::new(expressions.map(Regex::as_str))
        .size_limit(MAX_COMPILED_SET)
        .dfa_size_limit(MAX_COMPILED_SET)
        .build()
        .ok()
}

fn compile(expression: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression).size_limit(MAX_COMPILED).build()
}

/// casbin's KeyMatch5 as one expression.
fn key_match_5(pattern: &str) -> String {
    static SEGMENT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{[^/]+\}").ok());
    let pattern = pattern.replace("/*", "/.*");
    let pattern = match &*SEGMENT {
        Some(segment) => segment.replace_all(&pattern, "[^/]+").into_owned(),
        None => pattern,
    };
    // Nothing stands before the star that it could repeat.
    let pattern = if pattern == "*" { ".*" } else { &pattern };
    format!("^{pattern}$")
}

fn without_query(request: &str) -> &str {
    request.split_once('?').map_or(request, |(path, _)| path)
}

/// `GlobalCallerWidens` of upstream.
fn names_namespace(request: &str) -> bool {
    request.contains(':') && !request.starts_with("users/")
}

/// The pattern for requests that name a namespace, if it is of a form and without a namespace itself.
fn widen(pattern: &str) -> Option<String> {
    let pattern = pattern.replace("/*", "/.*");
    for root in ["schema/collections/", "data/collections/"] {
        let Some(rest) = pattern.strip_prefix(root) else { continue };
        let (collection, _) = rest.split_once("/shards/")?;
        return (!collection.contains(':')).then(|| format!("{root}{ANY_NAMESPACE}{rest}"));
    }
    None
}

/// Compiled patterns by their text. casbin calls plain functions, so what they need is in statics; a
/// pattern goes with the last policy that has it.
pub(super) struct Compiled<T>(RwLock<HashMap<String, Weak<T>>>);

pub(super) static RESOURCES: LazyLock<Compiled<ResourcePattern>> = LazyLock::new(Compiled::new);
pub(super) static VERBS: LazyLock<Compiled<Regex>> = LazyLock::new(Compiled::new);

impl<T> Compiled<T> {
    fn new() -> Compiled<T> {
        Compiled(RwLock::default())
    }

    /// The pattern, if a policy has it.
    pub(super) fn get(&self, text: &str) -> Option<Arc<T>> {
        let patterns = self.0.read().unwrap_or_else(PoisonError::into_inner);
        patterns.get(text)?.upgrade()
    }

    fn get_or(
        &self,
        text: &str,
        compile: impl FnOnce(&str) -> Result<T, regex::Error>,
    ) -> Result<Arc<T>, regex::Error> {
        if let Some(pattern) = self.get(text) {
            return Ok(pattern);
        }
        let pattern = Arc::new(compile(text)?);
        let mut patterns = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another policy may have been faster. Its pattern stays, or it would lose it with this one.
        if let Some(other) = patterns.get(text).and_then(Weak::upgrade) {
            return Ok(other);
        }
        patterns.insert(text.to_owned(), Arc::downgrade(&pattern));
        Ok(pattern)
    }

    /// Forgets those that no policy has any more.
    pub(super) fn clean(&self) {
        let mut patterns = self.0.write().unwrap_or_else(PoisonError::into_inner);
        patterns.retain(|_, pattern| pattern.strong_count() > 0);
    }
}

pub(super) fn resource(text: &str) -> Result<Arc<ResourcePattern>, regex::Error> {
    RESOURCES.get_or(text, ResourcePattern::compile)
}

pub(super) fn verb(text: &str) -> Result<Arc<Regex>, regex::Error> {
    VERBS.get_or(text, compile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(request: &str, pattern: &str) -> bool {
        ResourcePattern::compile(pattern).unwrap().matches(request)
    }

    /// The table of `docs/format/rbac.md` 3.2.
    #[test]
    fn resources_match_as_upstream() {
        for (request, pattern, expected) in [
            ("schema/collections/ABC/shards/#", "schema/collections/.*/shards/#", true),
            ("schema/collections/ABC/shards/#", "*", true),
            ("schema/collections/Class2/shards/#", "schema/collections/Class1/shards/#", false),
            ("schema/collections/ABCD/shards/#", "schema/collections/ABC/shards/#", false),
            ("schema/collections/ABCD/shards/#", "schema/collections/ABC.*/shards/#", true),
            ("schema/collections/Class1/shards/#", "schema/collections/Class1/shards/.*", false),
            (
                "schema/collections/Class1/shards/Tenant2",
                "schema/collections/.*/shards/Tenant1",
                false,
            ),
            (
                "data/collections/ABC/shards/Tenant1/objects/abc",
                "data/collections/.*/shards/Tenant1/objects/.*",
                true,
            ),
            (
                "data/collections/ABCD/shards/Tenant1/objects/abc",
                "data/collections/ABC/shards/Tenant1/objects/abc",
                false,
            ),
            (
                "data/collections/*/shards/Tenant1/objects/*",
                "data/collections/.*/shards/Tenant1/objects/.*",
                true,
            ),
            ("backups/collections/A", "backups/collections/{name}", true),
            ("backups/collections/A/b", "backups/collections/{name}", false),
            ("backups/collections/A?x=y", "backups/collections/A", true),
            ("backups/collections/A", "backups/*", true),
            ("backups/collections/ABC", "backups/collections/(A|B)", false),
            ("backups/collections/B", "backups/collections/(A|B)", true),
        ] {
            assert_eq!(matches(request, pattern), expected, "{request} {pattern}");
        }
    }

    /// The rules of `docs/format/rbac.md` 3.1.
    #[test]
    fn unqualified_patterns_match_in_any_one_namespace() {
        let request = "data/collections/one:Movies/shards/*/objects/*";
        for (pattern, expected) in [
            ("data/collections/Movies/shards/.*/objects/.*", true),
            ("data/collections/Mov.*/shards/*/objects/*", true),
            ("data/collections/*/shards/*/objects/*", true),
            ("data/collections/one:Movies/shards/.*/objects/.*", true),
            ("data/collections/two:Movies/shards/.*/objects/.*", false),
            ("data/collections/ovies/shards/.*/objects/.*", false),
            ("*", true),
        ] {
            assert_eq!(matches(request, pattern), expected, "{pattern}");
        }
        let nested = "data/collections/a:b:Movies/shards/*/objects/*";
        assert!(!matches(nested, "data/collections/Movies/shards/.*/objects/.*"));
        assert!(!matches("backups/collections/one:Movies", "backups/collections/Movies"));
        assert!(!matches(
            "data/collections/Movies/shards/*/objects/*",
            "data/collections/one:Movies/shards/.*/objects/.*"
        ));
    }

    #[test]
    fn patterns_of_dropped_policies_are_forgotten() {
        let kept = resource("kept-by-this-test").unwrap();
        drop(resource("dropped-by-this-test").unwrap());
        RESOURCES.clean();
        let known = RESOURCES.0.read().unwrap();
        assert!(known.contains_key("kept-by-this-test"));
        assert!(!known.contains_key("dropped-by-this-test"));
        drop(kept);
    }

    /// Two policies that are loaded at once have one pattern. The second must not take it from the first.
    #[test]
    fn a_pattern_that_another_policy_has_compiled_meanwhile_stays() {
        let mut first = None;
        let second = RESOURCES.get_or("compiled-twice", |text| {
            first = RESOURCES.get_or(text, ResourcePattern::compile).ok();
            ResourcePattern::compile(text)
        });
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        drop(second);
        assert!(RESOURCES.get("compiled-twice").is_some());
        drop(first);
    }

    #[test]
    fn a_pattern_that_explodes_is_an_error() {
        assert!(resource("a{1,1000}{1,1000}").is_ok(), "braces stand for a segment here");
        assert!(verb("(((a{1,1000}){1,1000}){1,1000})").is_err());
        assert!(resource("data/(").is_err());
    }
}
