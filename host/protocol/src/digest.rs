//! The SHA-256 of an object that is already in a store.
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::names::ObjectKey;
use crate::store::ExportFolder;

/// Bytes that are read and digested at a time.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// A digest that could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The object could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime is shutting down.
    #[error("interrupted")]
    Interrupted,
}

/// The SHA-256 of the first `size_bytes` bytes of an object, as 64 lower-case hex digits. Reads the
/// next step while the last one is digested. `on_bytes` gets the number of bytes read so far.
///
/// # Errors
/// [`DigestError`].
pub async fn sha256_of(
    folder: &ExportFolder,
    key: &ObjectKey,
    size_bytes: u64,
    on_bytes: impl Fn(u64),
) -> Result<String, DigestError> {
    let mut sha256 = Sha256::new();
    let mut read_bytes = 0;
    let mut digesting = None;
    while read_bytes < size_bytes {
        let end = size_bytes.min(read_bytes.saturating_add(STEP_BYTES));
        let step = folder.read_range(key, read_bytes..end).await?;
        if let Some(before) = digesting.take() {
            sha256 = settle(before).await?;
        }
        read_bytes = end;
        on_bytes(read_bytes);
        let mut sha256 = std::mem::take(&mut sha256);
        digesting = Some(tokio::task::spawn_blocking(move || {
            sha256.update(&step);
            sha256
        }));
    }
    if let Some(last) = digesting {
        sha256 = settle(last).await?;
    }
    Ok(hex::encode(sha256.finalize()))
}

async fn settle(digesting: tokio::task::JoinHandle<Sha256>) -> Result<Sha256, DigestError> {
    digesting.await.map_err(|_shutdown| DigestError::Interrupted)
}
