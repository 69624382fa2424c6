//! Which names classes, shards and their directories may have (`data-directory.md` 1 and 2).

/// Whether Weaviate accepts `name` for a class: `^[A-Z][_0-9A-Za-z]{0,254}$`, after `<namespace>:`
/// if there is a namespace.
pub fn is_class_name(name: &str) -> bool {
    let class = match name.split_once(':') {
        Some((namespace, class)) if is_namespace(namespace) => class,
        Some(_) => return false,
        None => name,
    };
    class.len() <= 255
        && class.starts_with(|first: char| first.is_ascii_uppercase())
        && class.bytes().all(is_word)
}

/// The directory of the class `name`: its name in lower case. Classes whose names differ in case alone share one;
/// current servers do not let a second one be created.
pub fn class_directory(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Whether a directory of this name may be that of a class. `raft` may not.
pub fn is_class_directory(name: &str) -> bool {
    let lowercase = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| is_word(byte) && !byte.is_ascii_uppercase())
    };
    match name.split_once(':') {
        Some((namespace, class)) => is_namespace(namespace) && lowercase(class),
        None => name.len() <= 255 && lowercase(name) && name != "raft",
    }
}

/// Whether Weaviate accepts `name` for a shard (tenant): `^[A-Za-z0-9_-]{1,64}$`.
pub fn is_shard(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| is_word(byte) || byte == b'-')
}

/// Whether Weaviate could have generated this shard name: 12 letters and digits. A tenant's name
/// may look the same.
pub fn is_generated_shard(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `name` with its first letter in upper case, or the first letter after its namespace. Weaviate's
/// clients do this to the name of a class.
pub fn capitalised(name: &str) -> String {
    let start = name.find(':').map_or(0, |colon| colon.saturating_add(1));
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(start..start.saturating_add(1)) {
        first.make_ascii_uppercase();
    }
    name
}

/// `^[a-z0-9][a-z0-9-]{1,34}[a-z0-9]$`.
fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=36).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_follow_the_pattern_with_and_without_a_namespace() {
        for good in ["A", "Article_2", &"A".repeat(255), "a-1:Article", "abc:A"] {
            assert!(is_class_name(good), "{good:?}");
            assert!(is_class_directory(&class_directory(good)), "{good:?}");
        }
        for bad in ["", "article", "_A", "A-b", "A.b", "../A", "Ä", ":A", "ab:A", "-ab:A", "abc:a"]
        {
            assert!(!is_class_name(bad), "{bad:?}");
        }
        assert!(!is_class_name(&"A".repeat(256)));
    }

    #[test]
    fn only_lower_case_names_are_directories_of_classes() {
        for bad in ["raft", "Article", "1a", "a-b", ".a", "a.deleteme", "AB:a", &"a".repeat(256)] {
            assert!(!is_class_directory(bad), "{bad:?}");
        }
    }

    #[test]
    fn shard_names_follow_the_pattern() {
        for good in ["a", "T-1_x", "-", &"z".repeat(64)] {
            assert!(is_shard(good), "{good:?}");
        }
        for bad in ["", "a.b", "a/b", "a b", &"z".repeat(65)] {
            assert!(!is_shard(bad), "{bad:?}");
        }
        assert!(is_generated_shard("aB3dE5gH7jK9"));
        assert!(!is_generated_shard("aB3dE5gH7jK") && !is_generated_shard("aB3dE5gH7j_9"));
    }

    #[test]
    fn the_first_letter_of_a_class_is_capitalised() {
        assert_eq!(capitalised("article"), "Article");
        assert_eq!(capitalised("abc:article"), "abc:Article");
        assert_eq!(capitalised(""), "");
        assert_eq!(capitalised("abc:"), "abc:");
        assert_eq!(capitalised("éa"), "éa");
    }
}
