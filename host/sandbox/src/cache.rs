//! Compiled guests on disk, so that only the first export waits for the compiler.
//!
//! An entry is native code that will run in this process, so the directory belongs to this user and
//! nobody else can write to it, and so does every entry. An entry is the code, so that it is mapped and not
//! copied, then the entry's name, which is made of the component's digest, and the BLAKE3 of both: what a
//! full disk or a crash left of an entry is compiled anew, and so is a guest whose entry is that of
//! another one.
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::SandboxError;
use crate::limits::MAX_CODE_BYTES;

/// BLAKE3, at the end of an entry.
const CHECKSUM_BYTES: usize = 32;

/// More than the name of an entry and its checksum have.
const MAX_TRAILER_BYTES: u64 = 1024;

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A directory of compiled guests that only this user can write.
pub(crate) struct CompiledCache {
    dir: PathBuf,
}

impl CompiledCache {
    /// Opens or creates the directory. A directory that was asked for and cannot be used is an
    /// error, a default one that is missing is not; one that is not safe always is.
    pub(crate) fn open(asked_for: Option<PathBuf>) -> Result<Option<CompiledCache>, SandboxError> {
        let is_default = asked_for.is_none();
        let Some(dir) = asked_for.or_else(default_dir) else {
            tracing::warn!(
                "neither XDG_CACHE_HOME nor HOME is set: guests are compiled every time"
            );
            return Ok(None);
        };
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        let metadata = match created.and_then(|()| fs::metadata(&dir)) {
            Ok(metadata) => metadata,
            Err(error) if is_default => {
                tracing::warn!(dir = %dir.display(), %error, "guests are compiled every time");
                return Ok(None);
            }
            Err(error) => {
                return Err(SandboxError::Cache { path: dir, problem: format!("fails: {error}") });
            }
        };
        if let Some(problem) = unsafe_for_code(&metadata) {
            return Err(SandboxError::Cache {
                path: dir,
                problem: format!("{problem}: choose another, or `chmod 700` it"),
            });
        }
        Ok(Some(CompiledCache { dir }))
    }

    /// The compiled guest, if a whole entry for this engine is there.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        match load_entry(engine, &path) {
            Ok(component) => component,
            Err(problem) => {
                tracing::warn!(path = %path.display(), %problem, "compiling the guest anew");
                None
            }
        }
    }

    /// Keeps a compiled guest. Failing to is no reason to stop.
    pub(crate) fn save(&self, engine: &Engine, digest: &str, code: &[u8]) {
        let path = self.path(engine, digest);
        if let Err(error) = save_entry(&path, code) {
            tracing::warn!(path = %path.display(), %error, "the compiled guest is not kept");
        }
    }

    /// The digest of the component, and a hash of wasmtime's version and the engine's configuration.
    pub(crate) fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.dir.join(format!("{digest}-{:016x}.guest", hasher.finish()))
    }
}

fn default_dir() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("offloom"))
}

/// Why code from here must not be trusted.
fn unsafe_for_code(metadata: &fs::Metadata) -> Option<&'static str> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        Some("belongs to another user")
    } else if metadata.mode() & 0o022 != 0 {
        Some("can be written by other users")
    } else {
        None
    }
}

fn load_entry(engine: &Engine, path: &Path) -> Result<Option<Component>, String> {
    let name = file_name(path);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if let Some(problem) = unsafe_for_code(&metadata) {
        return Err(format!("it {problem}"));
    }
    let bytes = metadata.len();
    let trailer_bytes = (name.len() as u64).saturating_add(CHECKSUM_BYTES as u64);
    let Some(code_bytes) = bytes.checked_sub(trailer_bytes).filter(|_| bytes <= MAX_CODE_BYTES)
    else {
        return Err(format!("it has {bytes} bytes"));
    };
    let trailer = checked_trailer(&file, code_bytes).map_err(|error| error.to_string())?;
    let Some(trailer) = trailer else { return Err("its checksum is wrong".to_owned()) };
    if trailer != name {
        return Err("it was not written for this guest".to_owned());
    }
    // SAFETY: `Component::deserialize_file` maps the file and runs what it finds, so the bytes must be
    // those that wasmtime's compiler made, for as long as the component lives. They are: the file and
    // its directory belong to the user that this process runs as and can be written by nobody else
    // (checked at the open descriptor, through which it is mapped, so the file cannot be changed for
    // another in between); this program writes nothing else under that name, and never to a file that
    // has it already, but renames a new one over it. That user could run any code here anyway. Damage
    // is ruled out by the checksum; wasmtime itself checks its version and configuration, and ignores
    // what follows the code.
    #[expect(unsafe_code)]
    let component = unsafe { Component::deserialize_file(engine, opened_path(&file, path)) };
    component.map(Some).map_err(|error| error.to_string())
}

/// Compares the checksum at the end of an entry with all bytes before it, and returns those after the
/// code; `None` if they differ.
fn checked_trailer(file: &File, code_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(code_bytes))?;
    let mut trailer = Vec::new();
    file.take(MAX_TRAILER_BYTES).read_to_end(&mut trailer)?;
    let Some((name, checksum)) = trailer.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Ok(None);
    };
    let right = hasher.update(name).finalize() == *checksum;
    Ok(right.then(|| name.to_owned()))
}

/// A path that leads to the open file, where the system has one.
fn opened_path(file: &File, path: &Path) -> PathBuf {
    if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    } else {
        path.to_owned()
    }
}

/// What an entry says of itself: the digest of the component and the hash of the engine.
fn file_name(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

/// Writes beside and renames, so that readers find a whole entry or none.
fn save_entry(path: &Path, code: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{number}.partial", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let name = file_name(path);
        file.write_all(code)?;
        file.write_all(name)?;
        file.write_all(blake3::Hasher::new().update(code).update(name).finalize().as_bytes())?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // What could not be written whole is of no use; the error itself is reported.
        let _ = fs::remove_file(&beside);
    }
    written
}
