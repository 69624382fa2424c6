//! A server whose store is slow, so that exports can be met while they run.
use std::fs::File;
use std::process::Command;

use offloom_encoder::{Workload, write_workload};
use offloom_test_parts::{Keys, Proxy, SeaweedFs};
use serde_json::json;
use tempfile::TempDir;

use crate::program::program;
use crate::s3;
use crate::server::Server;

/// A server whose exports do not come to an end, because the store is too slow for them.
pub struct Held {
    pub source: TempDir,
    proxy: Proxy,
    pub server: Server,
}

impl Held {
    pub fn new(bucket: &'static str, configure: impl FnOnce(&mut Command)) -> Held {
        let source = tempfile::tempdir().unwrap();
        write_workload(Workload::W1, 2_000, source.path()).unwrap();
        let proxy = Proxy::start(SeaweedFs::shared().endpoint());
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--bucket", s3::bucket(bucket)])
            .args(["--data-dir".as_ref(), source.path().join("data").as_os_str()])
            .args(["--state-dir".as_ref(), source.path().join("state").as_os_str()])
            .envs(Keys::ReadWrite.environment(&proxy.endpoint()))
            .stderr(File::create(source.path().join("log")).unwrap());
        configure(&mut command);
        let server = Server::start(&mut command);
        proxy.throttle(1 << 20);
        Held { source, proxy, server }
    }

    /// The store is fast again.
    pub fn pass(&self) {
        self.proxy.pass();
    }

    /// The store is slower still, or faster.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.proxy.throttle(bytes_per_second);
    }

    /// Requests to the store so far.
    pub fn requests(&self) -> usize {
        self.proxy.seen().len()
    }

    /// The store is gone.
    pub fn refuse_connections(&self) {
        self.proxy.refuse_connections();
    }

    /// Waits until the server has ended by itself.
    pub fn ended(self) -> std::process::ExitStatus {
        self.server.ended()
    }

    pub fn create(&self, id: &str) {
        self.server.post("/v1/export/s3", &json!({ "id": id })).ok();
    }
}
