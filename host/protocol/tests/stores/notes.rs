//! Notes of uploads in memory, and a process that dies in the middle of one.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use offloom_protocol::names::ObjectKey;
use offloom_protocol::upload::Upload;
use offloom_protocol::upload_log::{ConfirmedPart, LogError, OpenUpload, UploadLog};

use crate::place::Place;
use crate::{content, key};

/// Bytes of a part.
pub const PART: usize = 8 << 20;

/// Notes in memory.
#[derive(Debug, Default)]
pub struct Log {
    pub uploads: Mutex<BTreeMap<String, OpenUpload>>,
    pub continued: Mutex<BTreeMap<String, OpenUpload>>,
    pub kept: AtomicU64,
}

#[async_trait]
impl UploadLog for Log {
    async fn intended(&self, key: &ObjectKey, part_bytes: u64) -> Result<(), LogError> {
        let open = OpenUpload { upload_id: None, part_bytes, parts: Vec::new() };
        self.uploads.lock().unwrap().insert(key.to_string(), open);
        Ok(())
    }

    async fn begun(&self, key: &ObjectKey, id: &str, part_bytes: u64) -> Result<(), LogError> {
        let open = OpenUpload { upload_id: Some(id.to_owned()), part_bytes, parts: Vec::new() };
        self.uploads.lock().unwrap().insert(key.to_string(), open);
        Ok(())
    }

    async fn confirmed(&self, key: &ObjectKey, part: ConfirmedPart) -> Result<(), LogError> {
        let mut uploads = self.uploads.lock().unwrap();
        // One that is continued was written down before.
        if let Some(open) = uploads.get_mut(key.as_str()) {
            open.parts.push(part);
        }
        Ok(())
    }

    async fn ended(&self, key: &ObjectKey) -> Result<(), LogError> {
        self.uploads.lock().unwrap().remove(key.as_str());
        Ok(())
    }

    fn part_bytes(&self, key: &ObjectKey) -> Option<u64> {
        self.continued.lock().unwrap().get(key.as_str()).map(|open| open.part_bytes)
    }

    fn take_open(&self, key: &ObjectKey) -> Option<OpenUpload> {
        self.continued.lock().unwrap().remove(key.as_str())
    }

    fn kept(&self, size_bytes: u64) {
        self.kept.fetch_add(size_bytes, Ordering::Relaxed);
    }
}

/// Writes `len` bytes of an upload, of which the process then dies.
pub async fn interrupted(place: &Place, len: usize) -> BTreeMap<String, OpenUpload> {
    let log = Arc::new(Log::default());
    let folder = place.folder().with_log(log.clone());
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(len)).await.unwrap();
    // Until the parts that were sent are confirmed.
    let sent = (len - 1) / PART;
    while log.uploads.lock().unwrap().values().map(|open| open.parts.len()).sum::<usize>() < sent {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A process that dies drops nothing.
    std::mem::forget(upload);
    let open = log.uploads.lock().unwrap().clone();
    assert_eq!(open[key().as_str()].parts.len(), sent);
    open
}
