//! Starts the program and the Python readers, and keeps what they said.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a program said before it ended.
#[derive(Debug, Clone)]
pub struct Said {
    pub ok: bool,
    /// The exit status; absent if a signal ended it.
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn expect_success(self) -> Said {
        assert!(self.ok, "{self:#?}");
        self
    }

    /// The program did what it was asked for, and something is missing, which it says.
    #[track_caller]
    pub fn expect_partial(self) -> Said {
        assert_eq!(self.status, Some(3), "{self:#?}");
        assert!(self.err.lines().any(|line| line.starts_with("missing: ")), "{self:#?}");
        self
    }

    /// The program failed with one line on standard error (after warnings); returns that line.
    #[track_caller]
    pub fn expect_error(self) -> String {
        assert!(!self.ok, "{self:#?}");
        let errors: Vec<&str> =
            self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        match errors.as_slice() {
            [error] => (*error).to_owned(),
            _ => panic!("not one error: {self:#?}"),
        }
    }

    /// The last line of standard output, which for an export is its folder.
    #[track_caller]
    pub fn folder(&self) -> PathBuf {
        let line = self.out.lines().last().unwrap_or_default();
        PathBuf::from(line.strip_prefix("file://").unwrap_or_else(|| panic!("{self:#?}")))
    }
}

/// `offloom`, to be started. All tests share one cache of compiled guests, and a place for the journals of
/// commands. Servers take a free port for gRPC, as they run at the same time.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offloom"));
    command.env("XDG_CACHE_HOME", cache()).env("OFFLOOM_GRPC_LISTEN", "127.0.0.1:0");
    command.env("XDG_STATE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("state"));
    command
}

/// Runs `offloom` with these arguments to its end.
pub fn offloom<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Said {
    said(program().args(arguments))
}

/// Runs `offloom` where a disk of `kilobytes` is mounted; `arguments` gets its path.
pub fn offloom_on_small_disk(kilobytes: u32, arguments: impl FnOnce(&str) -> Vec<String>) -> Said {
    let disk = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(arguments(&disk.path().display().to_string()));
    said(&mut program_on_small_disk(kilobytes, disk.path(), &command))
}

/// `command` with a disk of `kilobytes` on the folder `disk`, in namespaces of its own: no other process
/// sees the disk, and it goes with the process.
pub fn program_on_small_disk(kilobytes: u32, disk: &Path, command: &Command) -> Command {
    let script = "mount -t tmpfs -o size=$0k tmpfs \"$1\" && shift && exec \"$@\"";
    let mut mounted = Command::new("unshare");
    mounted
        .args(["--map-root-user", "--mount", "sh", "-c", script, &kilobytes.to_string()])
        .arg(disk)
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    mounted
}

/// Runs a script of `tests/` with the Python that `./dev setup` prepared.
pub fn python<I: AsRef<std::ffi::OsStr>>(
    script: &str,
    arguments: impl IntoIterator<Item = I>,
) -> Said {
    said(
        Command::new(python_program("python"))
            .arg(root().join("tests").join(script))
            .args(arguments),
    )
}

/// A program of the Python packages that `./dev setup` installed, or Python itself.
pub fn python_program(name: &str) -> PathBuf {
    let python = std::env::var_os("OFFLOOM_PYTHON")
        .map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    let program = if name == "python" { python } else { python.with_file_name(name) };
    assert!(program.exists(), "{} is missing: run ./dev setup", program.display());
    program
}

/// The project's top folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        ok: status.success(),
        status: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
