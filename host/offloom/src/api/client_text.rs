//! What clients may read of a text: without the paths of this host.
//!
//! Errors name files by their place on the host, for the operator's log and the command line. Many
//! reach the API as text, from a manifest or a running export. So paths are replaced here, at the
//! last step before a client, and not where errors are made.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offloom_weaviate_disk::without_owners;
use url::Url;

/// Variables that name files of this host which an error of a store may show.
const PATH_VARIABLES: [&str; 4] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Replaces paths of the host by names. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ClientText {
    /// Longer paths first, so that a path does not match as the start of another one.
    paths: Arc<[HostPath]>,
}

#[derive(Debug, Clone)]
struct HostPath {
    /// Absolute, without a slash at its end. Also the start of a `file:` URL.
    text: String,
    /// What clients read in its place.
    name: String,
    /// What clients read in place of `text` and a slash before a path below it.
    prefix: String,
}

impl ClientText {
    /// The paths of the data directories, and those that `named` names.
    pub fn new(directories: &[PathBuf], named: Vec<(PathBuf, &str)>) -> ClientText {
        let mut paths = directory_paths(directories);
        for (path, name) in named {
            paths.extend(host_paths(&path, name, ""));
        }
        for variable in PATH_VARIABLES {
            if let Some(path) = std::env::var_os(variable) {
                paths.extend(host_paths(Path::new(&path), &format!("the file of {variable}"), ""));
            }
        }
        ClientText::of_paths(paths)
    }

    /// Also the data directories of an export, which may be one of another host.
    pub fn with_directories(&self, directories: &[String]) -> ClientText {
        let directories: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
        let mut paths = self.paths.to_vec();
        paths.extend(directory_paths(&directories));
        ClientText::of_paths(paths)
    }

    fn of_paths(mut paths: Vec<HostPath>) -> ClientText {
        paths.sort_by_key(|path| std::cmp::Reverse(path.text.len()));
        ClientText { paths: paths.into() }
    }

    /// `text` without the paths, and without the owners of files and the users of this host.
    pub fn of(&self, text: &str) -> String {
        let text = without_owners(text);
        self.paths.iter().fold(text, |text, path| path.replaced_in(&text))
    }
}

/// One directory is `the data directory`, and files are named relative to it. Several are numbered.
fn directory_paths(directories: &[PathBuf]) -> Vec<HostPath> {
    match directories {
        [directory] => host_paths(directory, "the data directory", ""),
        directories => (1..)
            .zip(directories)
            .flat_map(|(number, directory): (usize, _)| {
                let name = format!("data directory {number}");
                host_paths(directory, &name, &format!("{name}/"))
            })
            .collect(),
    }
}

/// The path as it is given and without links, each also as a URL. A relative path shows nothing of
/// the host.
fn host_paths(path: &Path, name: &str, prefix: &str) -> Vec<HostPath> {
    let mut texts = Vec::new();
    for path in std::iter::once(path.to_owned()).chain(path.canonicalize().ok()) {
        if path.is_absolute() {
            texts.push(path.display().to_string());
            texts.extend(Url::from_file_path(&path).map(String::from));
        }
    }
    let texts = texts.iter().map(|text| text.trim_end_matches('/'));
    let mut texts: Vec<String> =
        texts.filter(|text| !text.is_empty() && *text != "file:").map(str::to_owned).collect();
    texts.sort();
    texts.dedup();
    texts
        .into_iter()
        .map(|text| HostPath { text, name: name.to_owned(), prefix: prefix.to_owned() })
        .collect()
}

/// A character that continues a file name.
fn continues_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '%')
}

impl HostPath {
    fn replaced_in(&self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(&self.text) {
            replaced.push_str(before);
            let mut following = after.chars();
            match (following.next(), following.next()) {
                (Some('/'), Some(below)) if continues_name(below) || below == '.' => {
                    replaced.push_str(&self.prefix);
                    rest = after.strip_prefix('/').unwrap_or(after);
                }
                (Some('/'), _) => {
                    self.push_name(&mut replaced);
                    rest = after.strip_prefix('/').unwrap_or(after);
                }
                (Some(next), _) if continues_name(next) => {
                    // The path of something beside it, such as `/data-old` for `/data`.
                    replaced.push_str(&self.text);
                    rest = after;
                }
                _ => {
                    self.push_name(&mut replaced);
                    rest = after;
                }
            }
        }
        replaced.push_str(rest);
        replaced
    }

    /// Many texts name the kind of a path before it: `the data directory /srv/data`.
    fn push_name(&self, replaced: &mut String) {
        let kind = self.name.trim_end_matches(|character: char| character.is_ascii_digit());
        let kind = kind.trim_start_matches("the ").trim_end();
        if let Some(before) = replaced.strip_suffix(&format!("the {kind} ")) {
            replaced.truncate(before.len());
        }
        replaced.push_str(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(directories: &[&str]) -> ClientText {
        let directories: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
        let named = vec![
            (PathBuf::from("/srv/out put"), "the folder of the backend"),
            (PathBuf::from("/srv/data/state"), "the state directory"),
        ];
        ClientText::new(&directories, named)
    }

    #[test]
    fn paths_become_names_and_relative_paths() {
        let text = text(&["/srv/data/"]);
        for (full, expected) in [
            ("cannot open /srv/data: no", "cannot open the data directory: no"),
            ("open the data directory /srv/data: no", "open the data directory: no"),
            ("cannot open /srv/data/: no", "cannot open the data directory: no"),
            ("/srv/data/note/x.db, offset 7", "note/x.db, offset 7"),
            ("/srv/data/.hidden", ".hidden"),
            ("in /srv/data.", "in the data directory."),
            ("/srv/data/state/a.redb and /srv/data/b", "a.redb and b"),
            (
                "cannot write file:///srv/out%20put/a/Note.parquet: no",
                "cannot write a/Note.parquet: no",
            ),
            ("'/srv/out put' is full", "'the folder of the backend' is full"),
            ("/srv/data-old", "/srv/data-old"),
            ("GET /v1/schema", "GET /v1/schema"),
        ] {
            assert_eq!(text.of(full), expected, "{full}");
        }
    }

    #[test]
    fn several_directories_are_numbered() {
        let text = text(&["/srv/a", "/srv/a/b"]);
        assert_eq!(
            text.of("in /srv/a/b: x; the data directory /srv/a: y; /srv/a/raft/raft.db"),
            "in data directory 2: x; data directory 1: y; data directory 1/raft/raft.db"
        );
        let elsewhere = text.with_directories(&["/mnt/one".to_owned()]);
        assert_eq!(elsewhere.of("/mnt/one/note in /srv/a"), "note in data directory 1");
    }

    #[test]
    fn a_link_is_replaced_in_both_forms() {
        let work = tempfile::tempdir().unwrap();
        let (real, link) = (work.path().join("real"), work.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let text = ClientText::new(std::slice::from_ref(&link), Vec::new());
        let full = format!("{} is {}", link.display(), real.canonicalize().unwrap().display());
        assert_eq!(text.of(&full), "the data directory is the data directory");
    }
}
