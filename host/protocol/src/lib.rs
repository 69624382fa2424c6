//! The export protocol: what lies under an export's id, who may write it, and what it promises.
//!
//! In the order of one export: an id is checked ([`ExportId`]), its folder is opened
//! ([`Destination`]) and claimed ([`Claim`]), files stream into it ([`Upload`]), and the manifest
//! commits it ([`Manifest::commit`]).
mod claim;
mod error;
mod manifest;
mod names;
mod store;
mod timestamp;
mod upload;

pub use claim::{Claim, ClaimError};
pub use error::{Cause, Operation, StoreError};
pub use manifest::{
    Attachment, Block, ClassFile, ClassProgress, Commit, CutOff, FileFormat, Guest, LogCutOff,
    MAX_SHARDS_IN_MANIFEST, Manifest, ManifestError, Missing, Outcome, ProgressStatus, Shard,
    Source,
};
pub use names::{
    ExportId, NameError, ObjectKey, check_class_name, check_extension, check_shard_name,
};
pub use store::{Created, Destination, ExportFolder, ListedObject};
pub use upload::{Upload, Uploaded};
