//! Starts the process that compiles a component, and takes its answer.
//!
//! Nothing in the compiler bounds its time and memory: a component of 2 MB can take minutes and
//! gigabytes. The process has limits, and whatever happens to it is an error of the component.
//! `compile_guest` is the process from within.
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::{CompilerLimit, SandboxError};
use crate::limits::{MAX_CODE_BYTES, SandboxLimits};
use crate::log::escape;

/// First byte of an answer: the rest is native code.
pub(crate) const CODE: u8 = 0;
/// First byte of an answer: the rest says why the component was refused.
pub(crate) const REFUSAL: u8 = 1;
/// An answer without a rest: the memory was not enough.
pub(crate) const NO_MEMORY: u8 = 2;

/// Threads of a compiler. Each takes memory, however many cores there are.
const MAX_THREADS: usize = 4;

/// What is kept of the last words of a compiler.
const MAX_WORDS_BYTES: u64 = 16 * 1024;

/// The program that compiles guests: it calls [`crate::compile_guest`].
#[derive(Debug, Clone)]
pub struct Compiler {
    arguments: Vec<OsString>,
}

impl Compiler {
    /// This program, also if its file has been replaced or removed since it was started. With
    /// `arguments` and two more, which are for [`crate::compile_guest`], it is a compiler.
    pub fn this_program(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Compiler {
        Compiler { arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// The native code of a component. Blocks, for seconds.
    pub(crate) fn compile(
        &self,
        component: &[u8],
        limits: &SandboxLimits,
    ) -> Result<Vec<u8>, SandboxError> {
        let cannot =
            |error| SandboxError::Setup(format!("the compiler cannot be started: {error}"));
        let (mut socket, theirs) = UnixStream::pair().map_err(cannot)?;
        let mut child = self.start(theirs, limits).map_err(cannot)?;
        let answer = ask(&mut socket, component, limits.compile_wall);
        if answer.is_err() {
            // Fails only if it has ended.
            let _ = child.kill();
        }
        let status = child.wait().map_err(cannot)?;
        match answer {
            Ok(answer) if status.success() => read_answer(answer, limits),
            Ok(_) => Err(explain(status, &last_words(&mut child), limits)),
            Err(error) if is_timeout(&error) => {
                Err(SandboxError::CompilerLimit(CompilerLimit::Wall(limits.compile_wall)))
            }
            Err(error) => Err(SandboxError::CompilerFailed(error.to_string())),
        }
    }

    fn start(&self, socket: UnixStream, limits: &SandboxLimits) -> io::Result<Child> {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
        Command::new(this_program()?)
            .arg0("offloom")
            .args(&self.arguments)
            .args([limits.compile_bytes, limits.compile_time.as_secs()].map(|n| n.to_string()))
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.min(MAX_THREADS).to_string())
            // Every further arena of glibc takes 64 MiB of addresses, and the limit is on addresses.
            .env("MALLOC_ARENA_MAX", "1")
            // Ctrl-C is for this process. Its end is the end of the child.
            .process_group(0)
            .stdin(OwnedFd::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// The kernel's link leads to this program even when another file has its name.
fn this_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        Ok(PathBuf::from("/proc/self/exe"))
    } else {
        std::env::current_exe()
    }
}

/// Sends the component and reads the answer to its end.
fn ask(socket: &mut UnixStream, component: &[u8], time: Duration) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    socket.set_write_timeout(Some(time))?;
    match socket.write_all(component).and_then(|()| socket.shutdown(Shutdown::Write)) {
        // It has ended, and its status says why.
        Err(error) if !is_timeout(&error) => return Ok(Vec::new()),
        written => written?,
    }
    let mut answer = Vec::new();
    let mut part = vec![0; 256 * 1024];
    loop {
        let left = time.saturating_sub(start.elapsed());
        // Zero would mean no limit.
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It has ended with a part of the component unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(answer),
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > MAX_CODE_BYTES {
            return Err(io::Error::other("its native code is too large"));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn read_answer(mut answer: Vec<u8>, limits: &SandboxLimits) -> Result<Vec<u8>, SandboxError> {
    match answer.first() {
        Some(&CODE) => {
            answer.remove(0);
            Ok(answer)
        }
        Some(&REFUSAL) => {
            let text = String::from_utf8_lossy(answer.get(1..).unwrap_or_default());
            Err(SandboxError::Refused(escape(&text, 1024)))
        }
        Some(&NO_MEMORY) => Err(no_memory(limits)),
        _ => Err(SandboxError::CompilerFailed("the compiler answered nothing".to_owned())),
    }
}

/// Why it ended without an answer.
fn explain(status: ExitStatus, words: &str, limits: &SandboxLimits) -> SandboxError {
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return SandboxError::CompilerLimit(CompilerLimit::Time(limits.compile_time));
    }
    // What Rust writes before it aborts, and what the compiler's own collections write.
    let aborted = status.signal() == Some(Signal::ABORT.as_raw());
    let gave_up = words.contains("out of memory (failed to allocate ");
    if (aborted && words.contains("memory allocation of ")) || gave_up {
        return no_memory(limits);
    }
    let words = escape(words.trim(), 1024);
    let hint = if status.signal() == Some(Signal::KILL.as_raw()) {
        " (the system may be short of memory)"
    } else {
        ""
    };
    SandboxError::CompilerFailed(format!("the compiler ended with {status}{hint}: {words}"))
}

fn no_memory(limits: &SandboxLimits) -> SandboxError {
    SandboxError::CompilerLimit(CompilerLimit::Memory(limits.compile_bytes))
}

/// What it wrote to its standard error before it ended: a pipe keeps some kilobytes.
fn last_words(child: &mut Child) -> String {
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // The exit status alone is an error too.
        let _ = stderr.take(MAX_WORDS_BYTES).read_to_end(&mut words);
    }
    String::from_utf8_lossy(&words).into_owned()
}
