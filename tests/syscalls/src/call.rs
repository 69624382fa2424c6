//! The system calls that can be watched, and what an event says of one.
use std::path::PathBuf;

/// A system call; one name for all its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `pread64`: reads a part of a file.
    Read,
    /// `getdents64`: reads names of a folder.
    ReadFolder,
    /// `statx`, `newfstatat`: looks at one name.
    Look,
    /// `fsync`, `fdatasync`.
    Sync,
    /// `rename`, `renameat`, `renameat2`.
    Rename,
    /// `link`, `linkat`.
    Link,
    /// `unlink`, `unlinkat`.
    Unlink,
    /// `sendto`, `sendmsg`, `writev`: sends to a socket, mostly.
    Send,
    /// `recvfrom`, `recvmsg`: receives from a socket.
    Receive,
}

/// Where a call has its paths: the numbers of its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paths {
    /// A descriptor.
    Descriptor(usize),
    /// A path from the working directory.
    Alone(usize),
    /// Two paths from the working directory.
    Plain(usize, usize),
    /// A path from a folder's descriptor.
    Below(usize, usize),
    /// Two paths, each from a folder's descriptor.
    TwoBelow([usize; 2], [usize; 2]),
}

impl Call {
    /// Number and paths of each system call.
    pub(crate) fn numbers(self) -> Vec<(libc::c_long, Paths)> {
        const TWO: Paths = Paths::TwoBelow([0, 1], [2, 3]);
        match self {
            Call::Read => vec![(libc::SYS_pread64, Paths::Descriptor(0))],
            Call::ReadFolder => vec![(libc::SYS_getdents64, Paths::Descriptor(0))],
            Call::Look => vec![
                (libc::SYS_statx, Paths::Below(0, 1)),
                (libc::SYS_newfstatat, Paths::Below(0, 1)),
            ],
            Call::Sync => vec![
                (libc::SYS_fsync, Paths::Descriptor(0)),
                (libc::SYS_fdatasync, Paths::Descriptor(0)),
            ],
            Call::Rename => vec![
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_rename, Paths::Plain(0, 1)),
                (libc::SYS_renameat, TWO),
                (libc::SYS_renameat2, TWO),
            ],
            Call::Link => vec![
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_link, Paths::Plain(0, 1)),
                (libc::SYS_linkat, TWO),
            ],
            Call::Unlink => vec![
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_unlink, Paths::Alone(0)),
                (libc::SYS_unlinkat, Paths::Below(0, 1)),
            ],
            Call::Send => vec![
                (libc::SYS_sendto, Paths::Descriptor(0)),
                (libc::SYS_sendmsg, Paths::Descriptor(0)),
                (libc::SYS_writev, Paths::Descriptor(0)),
            ],
            Call::Receive => vec![
                (libc::SYS_recvfrom, Paths::Descriptor(0)),
                (libc::SYS_recvmsg, Paths::Descriptor(0)),
            ],
        }
    }

    /// The call with this number, and its paths.
    pub(crate) fn of_number(number: libc::c_long) -> (Call, Paths) {
        let all = [
            Call::Read,
            Call::ReadFolder,
            Call::Look,
            Call::Sync,
            Call::Rename,
            Call::Link,
            Call::Unlink,
            Call::Send,
            Call::Receive,
        ];
        let found = all.iter().find_map(|call| {
            let numbers = call.numbers();
            numbers.into_iter().find(|(known, _)| *known == number).map(|(_, paths)| (*call, paths))
        });
        found.expect("the filter lets only known calls through")
    }
}

/// A system call that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub call: Call,
    /// The file or folder that it is made on; of a rename or link, the name that is there already.
    pub path: PathBuf,
    /// Of a rename or link, the new name.
    pub to: Option<PathBuf>,
}
