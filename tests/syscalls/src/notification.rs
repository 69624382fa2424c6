//! One reported system call: receiving it, its paths, and letting it continue.
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStringExt, fs::FileExt},
    },
    path::PathBuf,
};

use crate::call::{Call, Event, Paths};

/// A system call that waits.
pub(crate) struct Notification(libc::seccomp_notif);

/// Waits for the next one; `None` when all that is watched has ended.
#[expect(unsafe_code)]
pub(crate) fn next(listener: &OwnedFd) -> Option<Notification> {
    loop {
        let mut ready = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, as the count says.
        let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
        let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        assert!(polled == 1 || interrupted(), "poll: {}", io::Error::last_os_error());
        if ready.revents & libc::POLLIN != 0 {
            // SAFETY: a struct of integers, which the kernel requires to be zero.
            let mut received: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes to a struct that is as large as it expects.
            let status = unsafe {
                let received = &raw mut received;
                libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, received)
            };
            // Otherwise the caller was killed meanwhile.
            if status == 0 {
                return Some(Notification(received));
            }
        } else if ready.revents & libc::POLLHUP != 0 {
            return None;
        }
    }
}

impl Notification {
    /// What is about to happen; `None` if the caller has died meanwhile.
    pub(crate) fn event(&self, listener: &OwnedFd) -> Option<Event> {
        match self.read_event() {
            Ok(event) => Some(event),
            Err(_) if !self.is_waiting(listener) => None,
            Err(error) => panic!("the paths of a system call: {error}"),
        }
    }

    fn read_event(&self) -> io::Result<Event> {
        let (call, paths) = Call::of_number(self.0.data.nr.into());
        let (path, to) = match paths {
            Paths::Descriptor(at) => (self.descriptor(at)?, None),
            Paths::Alone(path) => (self.path(path)?, None),
            Paths::Plain(from, to) => (self.path(from)?, Some(self.path(to)?)),
            Paths::Below(folder, path) => (self.below(folder, path)?, None),
            Paths::TwoBelow([folder, path], [to_folder, to]) => {
                (self.below(folder, path)?, Some(self.below(to_folder, to)?))
            }
        };
        Ok(Event { call, path, to })
    }

    /// Whether the caller still waits for its call.
    #[expect(unsafe_code)]
    fn is_waiting(&self, listener: &OwnedFd) -> bool {
        let id = self.0.id;
        // SAFETY: the kernel reads one number.
        let status = unsafe {
            let id = &raw const id;
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, id)
        };
        status == 0
    }

    /// Lets the kernel make the call.
    pub(crate) fn resume(self, listener: &OwnedFd) {
        let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("one bit");
        self.answer(listener, 0, flags);
    }

    /// The call is not made; its caller gets this error.
    pub(crate) fn fail(self, listener: &OwnedFd, error: i32) {
        self.answer(listener, -error, 0);
    }

    #[expect(unsafe_code)]
    fn answer(self, listener: &OwnedFd, error: i32, flags: u32) {
        let mut answer = libc::seccomp_notif_resp { id: self.0.id, val: 0, error, flags };
        // SAFETY: the kernel reads a struct that is as large as it expects.
        let status = unsafe {
            let answer = &raw mut answer;
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, answer)
        };
        let error = io::Error::last_os_error();
        // The caller may have been killed meanwhile.
        let gone = error.raw_os_error() == Some(libc::ENOENT);
        assert!(status == 0 || gone, "a system call cannot continue: {error}");
    }

    /// The path of an open file or folder.
    fn descriptor(&self, at: usize) -> io::Result<PathBuf> {
        // A descriptor is a C int, in the lower half of its register.
        let entry = match self.0.data.args[at] as i32 {
            libc::AT_FDCWD => format!("/proc/{}/cwd", self.0.pid),
            descriptor => format!("/proc/{}/fd/{descriptor}", self.0.pid),
        };
        fs::read_link(entry)
    }

    fn below(&self, folder: usize, path: usize) -> io::Result<PathBuf> {
        let path = self.path(path)?;
        if path.is_absolute() { Ok(path) } else { Ok(self.descriptor(folder)?.join(path)) }
    }

    /// A path in the memory of the caller; empty for none.
    fn path(&self, at: usize) -> io::Result<PathBuf> {
        let address = self.0.data.args[at];
        let mut path = Vec::new();
        if address != 0 {
            let memory = File::open(format!("/proc/{}/mem", self.0.pid))?;
            let mut byte = [0];
            while path.len() < libc::PATH_MAX as usize {
                let place = address + path.len() as u64;
                memory.read_exact_at(&mut byte, place)?;
                match byte {
                    [0] => break,
                    [other] => path.push(other),
                }
            }
        }
        Ok(PathBuf::from(OsString::from_vec(path)))
    }
}
