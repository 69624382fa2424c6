//! Which names classes, shards and their directories may have (`data-directory.md` 1 and 2).

/// `^[A-Z][_0-9A-Za-z]{0,254}$`, with a namespace in front where there is one.
pub(crate) fn is_class_name(name: &str) -> bool {
    let class = match name.split_once(':') {
        Some((namespace, class)) if is_namespace(namespace) => class,
        Some(_) => return false,
        None => name,
    };
    class.len() <= 255
        && class.starts_with(|first: char| first.is_ascii_uppercase())
        && class.bytes().all(is_word)
}

/// A lowercased class name; `raft` is none.
pub(crate) fn is_class_directory(name: &str) -> bool {
    let lowercase = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| is_word(byte) && !byte.is_ascii_uppercase())
    };
    match name.split_once(':') {
        Some((namespace, class)) => is_namespace(namespace) && lowercase(class),
        None => name.len() <= 255 && lowercase(name) && name != "raft",
    }
}

/// `^[A-Za-z0-9_-]{1,64}$`.
pub(crate) fn is_shard(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| is_word(byte) || byte == b'-')
}

/// Whether Weaviate could have made this shard name up: twelve letters and digits.
pub(crate) fn is_generated_shard(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The first letter capitalised, behind the namespace if there is one.
pub(crate) fn capitalised(directory: &str) -> String {
    let start = directory.find(':').map_or(0, |colon| colon.saturating_add(1));
    let mut name = directory.to_owned();
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
