//! Installs the filter on the current thread.
use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use crate::call::Call;

/// Installs a filter that reports `calls` and lets all others through; returns the descriptor on which
/// they are reported. Threads and processes that the current thread starts inherit the filter.
#[expect(unsafe_code)]
pub(crate) fn install(calls: &[Call]) -> OwnedFd {
    let program = program(calls);
    let length = program.len().try_into().expect("a short program");
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: both calls read only what they are given, which lives until they return; the second
    // returns a new descriptor that nothing else owns.
    unsafe {
        // Without it, only root may install a filter.
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            panic!("no_new_privs: {}", io::Error::last_os_error());
        }
        let listener = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        );
        let listener = i32::try_from(listener).ok().filter(|listener| *listener >= 0);
        let Some(listener) = listener else {
            panic!("seccomp with user notification: {}", io::Error::last_os_error());
        };
        OwnedFd::from_raw_fd(listener)
    }
}

/// Compares the number of a system call with each that is wanted.
fn program(calls: &[Call]) -> Vec<libc::sock_filter> {
    let instruction =
        |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    // The number is the first field of `seccomp_data`.
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (number, _) in calls.iter().flat_map(|call| call.numbers()) {
        let number = u32::try_from(number).expect("a number of a system call");
        // Behind this one, unless it is the number.
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    program
}
