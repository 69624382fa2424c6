//! The process that compiles one component: it limits itself, reads, compiles, answers and ends.
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::{Engine, OutOfMemory};

use crate::compiler::{CODE, NO_MEMORY, REFUSAL};
use crate::config::engine_config;

/// Compiles the component that comes on standard input, which is a socket, and answers on the same.
/// `limits` are the last two arguments of the process that [`crate::Compiler`] starts: bytes of memory
/// and seconds. The limits hold for the whole process, which is to end after this.
///
/// # Errors
/// If a limit cannot be set, the component cannot be read, or nobody takes the answer. Why a component
/// is refused is an answer.
pub fn compile_guest(limits: &[String]) -> io::Result<()> {
    let (bytes, seconds) = match limits {
        [bytes, seconds] => (bytes.parse::<u64>().ok(), seconds.parse::<u64>().ok()),
        _ => (None, None),
    };
    let (Some(bytes), Some(seconds)) = (bytes, seconds) else {
        return Err(io::Error::other("expected bytes of memory and seconds"));
    };
    end_with_parent()?;
    limit_process(bytes, seconds)?;
    let mut component = Vec::new();
    io::stdin().read_to_end(&mut component)?;
    let (kind, rest) = compile(&component);
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.write_all(&[kind])?;
    socket.write_all(&rest)
}

fn compile(component: &[u8]) -> (u8, Vec<u8>) {
    match Engine::new(&engine_config()).and_then(|engine| engine.precompile_component(component)) {
        Ok(code) => (CODE, code),
        Err(error) if error.is::<OutOfMemory>() => (NO_MEMORY, Vec::new()),
        Err(error) => (REFUSAL, format!("{error:#}").into_bytes()),
    }
}

/// A parent that has ended already leaves a component without its end, and nobody to answer to.
#[cfg(target_os = "linux")]
fn end_with_parent() -> io::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// There is no such signal: the limit of time ends it.
#[cfg(not(target_os = "linux"))]
fn end_with_parent() -> io::Result<()> {
    Ok(())
}

/// Neither this process nor one that it might start can lift these again.
fn limit_process(memory_bytes: u64, seconds: u64) -> io::Result<()> {
    // SIGXCPU at the limit; SIGKILL if that should not end it.
    limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, 16, 16)?;
    match limit(Resource::As, memory_bytes, memory_bytes) {
        // macOS has no such limit.
        Err(_) if cfg!(target_os = "macos") => Ok(()),
        limited => limited,
    }
}

/// A lower limit stays.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let had = getrlimit(resource);
    let lower = |had: Option<u64>, wanted: u64| Some(had.map_or(wanted, |had| had.min(wanted)));
    let limits =
        Rlimit { current: lower(had.current, current), maximum: lower(had.maximum, maximum) };
    Ok(setrlimit(resource, limits)?)
}
