//! Weaviate itself, 1.38.0, on one node: to be asked the same as Offloom, over the same directory.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports::free_ports_in_a_row;

/// What `./dev` builds and `tests/parts` starts.
pub const WEAVIATE_VERSION: &str = "1.38.0";

/// How long a server may take to be ready; 3 s were measured on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server. It is killed when this goes, or when the test process ends.
#[derive(Debug)]
pub struct Weaviate {
    rest: u16,
    grpc: u16,
    exports: PathBuf,
    supervisor: Child,
}

/// How a server is started.
#[derive(Debug, Default)]
pub struct WeaviateSettings {
    variables: Vec<(String, String)>,
    has_users: bool,
}

impl WeaviateSettings {
    /// Everybody may do everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// API keys, each with its user, and roles: `root` may do everything, the others what they are given.
    pub fn with_users(users: &[(&str, &str)], root: &str) -> Self {
        let (names, keys): (Vec<&str>, Vec<&str>) = users.iter().copied().unzip();
        let variables = [
            ("AUTHENTICATION_APIKEY_ENABLED", "true"),
            ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", &keys.join(",")),
            ("AUTHENTICATION_APIKEY_USERS", &names.join(",")),
            ("AUTHENTICATION_DB_USERS_ENABLED", "true"),
            ("AUTHORIZATION_RBAC_ENABLED", "true"),
            ("AUTHORIZATION_RBAC_ROOT_USERS", root),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { variables, has_users: true }
    }

    /// The variables that say who its users are, and what they may do.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// One more variable of the server.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Weaviate {
    /// A server over `data`, which it writes to. It exports to a folder of its own.
    ///
    /// # Panics
    /// When the server is not built (`./dev test` builds it), or does not start.
    pub fn start(data: &Path, settings: &WeaviateSettings) -> Self {
        // Another process may have taken one of the ports meanwhile: such a server ends at once.
        (0..3)
            .find_map(|_| Self::try_start(data, settings))
            .expect("Weaviate ended three times before it was ready, see its log above")
    }

    /// The port of its REST service, on 127.0.0.1.
    pub fn rest_port(&self) -> u16 {
        self.rest
    }

    /// The port of its gRPC service.
    pub fn grpc_port(&self) -> u16 {
        self.grpc
    }

    /// Where the backend `filesystem` of its own exports writes.
    pub fn exports(&self) -> &Path {
        &self.exports
    }

    /// None when the process ended before it was ready; its supervisor has printed why.
    fn try_start(data: &Path, settings: &WeaviateSettings) -> Option<Self> {
        let begun = Instant::now();
        let directory = tempfile::Builder::new()
            .prefix("offloom-weaviate-")
            .tempdir()
            .expect("a directory for Weaviate")
            // The supervisor removes it.
            .keep();
        // On an empty directory it makes its cluster only if the port of the cluster follows that of the
        // gossip, and that of Raft's calls that of Raft.
        let [rest, grpc, gossip, cluster, raft, raft_rpc, profiling] = free_ports_in_a_row();
        let exports = directory.join("exports");
        let anonymous = if settings.has_users { "false" } else { "true" };
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("supervise.sh"), "supervise.sh"])
            .arg(&directory)
            .arg("")
            .arg(program())
            .args(["--scheme", "http", "--host", "127.0.0.1", "--port", &rest.to_string()])
            .env("PERSISTENCE_DATA_PATH", data)
            .env("BACKUP_FILESYSTEM_PATH", directory.join("backups"))
            .env("EXPORT_DEFAULT_PATH", &exports)
            .envs([
                ("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", anonymous),
                ("CLUSTER_HOSTNAME", "node1"),
                ("CLUSTER_IN_LOCALHOST", "true"),
                ("CLUSTER_ADVERTISE_ADDR", "127.0.0.1"),
                ("RAFT_BOOTSTRAP_EXPECT", "1"),
                ("RAFT_JOIN", &format!("node1:{raft}")),
                ("DEFAULT_VECTORIZER_MODULE", "none"),
                ("DISABLE_TELEMETRY", "true"),
                ("ENABLE_MODULES", "backup-filesystem"),
                ("EXPORT_ENABLED", "true"),
            ])
            .envs([
                ("CLUSTER_GOSSIP_BIND_PORT", gossip.to_string()),
                ("CLUSTER_DATA_BIND_PORT", cluster.to_string()),
                ("RAFT_PORT", raft.to_string()),
                ("RAFT_INTERNAL_RPC_PORT", raft_rpc.to_string()),
                ("GRPC_PORT", grpc.to_string()),
                ("GO_PROFILING_PORT", profiling.to_string()),
            ])
            .envs(settings.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let supervisor = command.spawn().expect("sh, to supervise Weaviate");
        let mut server = Self { rest, grpc, exports, supervisor };
        while !is_ready(rest) {
            if server.supervisor.try_wait().expect("the state of Weaviate").is_some() {
                return None;
            }
            assert!(begun.elapsed() < START_LIMIT, "Weaviate is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }
}

impl Drop for Weaviate {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // An error here would hide the test's own.
        let _ = self.supervisor.wait();
    }
}

/// Whether the server answers that it is ready.
fn is_ready(port: u16) -> bool {
    let mut answer = String::new();
    let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.write_all(b"GET /v1/.well-known/ready HTTP/1.0\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.0 200 ")
}

/// Where `./dev` builds it.
fn program() -> PathBuf {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/weaviate-server");
    assert!(program.exists(), "{} is missing: run ./dev test once", program.display());
    program
}
