//! Why the system refuses something in a data directory: whose it is, and how to be allowed to read it.
//!
//! Weaviate makes its folders with mode 0700 (`data-directory.md` 3), so the commonest first mistake is
//! to run as another user. [`explain`] turns the system's refusal into a text that says so. The result
//! stays an [`io::Error`], so each error of a file shows it as its source. The texts are in this crate
//! only.
use std::{
    fmt, io,
    os::unix::fs::MetadataExt as _,
    path::{self, Path},
};

use cap_std::fs::{Dir, MetadataExt as _};
use nix::{
    errno::Errno,
    unistd::{Uid, User, geteuid},
};

/// What a denial begins with.
const BEGIN: &str = "permission denied: ";
/// What a denial ends with.
const END: &str = " (README, Permissions)";

/// The error of opening, listing or looking at `path` in `directory`, with the owner if permission was
/// denied, and with a remedy if a link leads out of the data directory. Every other error is returned as
/// it is. `within` is the path of `directory` in the data directory, empty for the data directory
/// itself.
pub fn explain(error: io::Error, directory: &Dir, within: &str, path: &str) -> io::Error {
    if leads_outside(&error) {
        return io::Error::new(error.kind(), Outside);
    }
    if !is_refusal(&error) {
        return error;
    }
    let found = Path::new(path).ancestors().find_map(|inside| {
        let is_directory = inside.as_os_str().is_empty() || inside == Path::new(".");
        let metadata = if is_directory {
            directory.dir_metadata().ok()?
        } else {
            directory.metadata(inside).ok()?
        };
        let inside = if is_directory { Path::new("") } else { inside };
        let place = Path::new(within).join(inside).display().to_string();
        let place = place.trim_end_matches('/');
        let place = if place.is_empty() { "the data directory" } else { place };
        Some(Owned { place: place.to_owned(), uid: metadata.uid(), mode: metadata.mode() })
    });
    denied(found)
}

/// As [`explain`], for a `path` that is not in a data directory that could be opened.
pub fn explain_path(error: io::Error, path: &Path) -> io::Error {
    if !is_refusal(&error) {
        return error;
    }
    let absolute = path::absolute(path).unwrap_or_else(|_no_current_directory| path.to_owned());
    let found = absolute.ancestors().find_map(|path| {
        let metadata = path.metadata().ok()?;
        let place = path.display().to_string();
        Some(Owned { place, uid: metadata.uid(), mode: metadata.mode() })
    });
    denied(found)
}

/// Whether the error is a denial that [`explain`] or [`explain_path`] has explained. Its remedy is to
/// be allowed to read, and never to go without.
pub fn is_denied(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Denied>())
}

/// `text` without users, modes and commands of this host, for readers who do not operate it.
pub fn without_owners(text: &str) -> String {
    let mut shortened = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, denial)) = rest.split_once(BEGIN) {
        let Some((_, after)) = denial.split_once(END) else { break };
        shortened.push_str(before);
        shortened.push_str(BEGIN.trim_end_matches(": "));
        rest = after;
    }
    shortened.push_str(rest);
    shortened
}

fn denied(found: Option<Owned>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, Denied { found, uid: geteuid() })
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::EACCES, Errno::EPERM].map(|refusal| refusal as i32);
    error.raw_os_error().is_some_and(|number| refusals.contains(&number))
}

/// `cap-std` refuses what leads out of a directory by this kind, without a number of the system.
fn leads_outside(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
        && error.raw_os_error().is_none()
        && !is_denied(error)
}

/// The deepest part of a refused path that can be looked at. It is what refuses.
#[derive(Debug)]
struct Owned {
    place: String,
    uid: u32,
    mode: u32,
}

/// The system denies permission.
#[derive(Debug, thiserror::Error)]
struct Denied {
    found: Option<Owned>,
    /// Of this process.
    uid: Uid,
}

/// A link leads out of the data directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is, or lies behind, a link that leads out of the data directory, and nothing outside of it is \
     read: put the directory itself, or a bind mount, in its place"
)]
struct Outside;

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(BEGIN)?;
        let this = self.uid;
        match &self.found {
            None => write!(
                formatter,
                "this program runs as {}; run it as the user of the Weaviate server",
                Named(this)
            )?,
            Some(Owned { place, uid, mode }) => {
                let (owner, mode) = (Uid::from_raw(*uid), mode & 0o7777);
                write!(formatter, "{place} belongs to {} with mode {mode:04o}, ", Named(owner))?;
                if owner == this {
                    write!(formatter, "as which this program runs; let its owner read it")?;
                    write!(formatter, " (`chmod -R u+rX` on the data directory)")?;
                } else {
                    write!(formatter, "and this program runs as {}; run it as ", Named(this))?;
                    write!(formatter, "the owner (`sudo -u '#{owner}' offloom ...`, in a ")?;
                    write!(formatter, "container `--user {owner}`), or let this user read the ")?;
                    write!(formatter, "data directory (`setfacl -R -m u:{this}:rX` on it)")?;
                }
            }
        }
        formatter.write_str(END)
    }
}

/// `user weaviate (uid 1000)`, or `uid 1000` where the system has no name for it.
struct Named(Uid);

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match User::from_uid(self.0) {
            Ok(Some(user)) => write!(formatter, "user {} (uid {})", user.name, self.0),
            Ok(None) | Err(_) => write!(formatter, "uid {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cap_std::ambient_authority;

    use super::*;

    fn refusal() -> io::Error {
        io::Error::from_raw_os_error(Errno::EACCES as i32)
    }

    fn directory() -> (tempfile::TempDir, Dir) {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir_all(work.path().join("note/abc")).unwrap();
        let directory = Dir::open_ambient_dir(work.path(), ambient_authority()).unwrap();
        (work, directory)
    }

    #[test]
    fn a_denial_names_the_deepest_part_that_can_be_looked_at() {
        let (work, directory) = directory();
        for (within, path, place) in [
            ("", "note/abc/lsm/objects", "note/abc"),
            ("", "note", "note"),
            ("", ".", "the data directory"),
            ("", "missing", "the data directory"),
            ("raft", "raft.db", "raft"),
            ("raft", "note/x", "raft/note"),
        ] {
            let error = explain(refusal(), &directory, within, path);
            assert!(is_denied(&error));
            let text = error.to_string();
            assert!(text.starts_with(&format!("permission denied: {place} belongs to ")), "{text}");
        }
        let text = explain_path(refusal(), &work.path().join("x/y")).to_string();
        assert!(text.contains(&format!("{} belongs to ", work.path().display())), "{text}");
    }

    #[test]
    fn the_remedy_names_the_owner_and_never_a_way_to_go_without() {
        let owned = |uid| Owned { place: "note".to_owned(), uid, mode: 0o40700 };
        let of = |found, uid| Denied { found, uid: Uid::from_raw(uid) }.to_string();
        let text = of(Some(owned(4_000_001)), 4_000_002);
        assert_eq!(
            text,
            "permission denied: note belongs to uid 4000001 with mode 0700, and this program runs \
             as uid 4000002; run it as the owner (`sudo -u '#4000001' offloom ...`, in a container \
             `--user 4000001`), or let this user read the data directory (`setfacl -R -m \
             u:4000002:rX` on it) (README, Permissions)"
        );
        assert!(of(Some(owned(0)), 4_000_002).contains("note belongs to user root (uid 0) with"));
        let own = of(Some(owned(4_000_001)), 4_000_001);
        assert!(own.contains("chmod -R u+rX") && !own.contains("sudo"), "{own}");
        let unknown = of(None, 4_000_002);
        assert!(unknown.contains("run it as the user of the Weaviate server"), "{unknown}");
    }

    #[test]
    fn a_reader_who_does_not_operate_the_host_sees_no_owner() {
        let (_work, directory) = directory();
        let denial = explain(refusal(), &directory, "", "note");
        let text = format!("cannot list note: {denial}; and cannot list b: {denial}");
        assert_eq!(
            without_owners(&text),
            "cannot list note: permission denied; and cannot list b: permission denied"
        );
        for other in ["", "no denial", "permission denied: cut off"] {
            assert_eq!(without_owners(other), other);
        }
    }

    #[test]
    fn a_link_out_of_the_directory_is_no_denial() {
        let (work, directory) = directory();
        std::os::unix::fs::symlink(work.path(), work.path().join("note/out")).unwrap();
        let error = directory.metadata("note/out").unwrap_err();
        let error = explain(error, &directory, "", "note/out");
        assert!(!is_denied(&error));
        assert!(error.to_string().contains("a link that leads out"), "{error}");
        // Explained twice, it says the same.
        assert_eq!(explain(refusal(), &directory, "", "note").to_string(), {
            let once = explain(refusal(), &directory, "", "note");
            explain(once, &directory, "", "note").to_string()
        });
        let other = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(other, &directory, "", "x").kind(), io::ErrorKind::NotFound);
    }
}
