//! A data directory around segments and logs (`data-directory.md 1` to `4`).

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::EncodeError;
use crate::segment::{SegmentOptions, SegmentWriter};
use crate::wal::WalWriter;

/// Marks the layout with one directory per class, in force since 1.22.
const LAYOUT_MARKER: &str = "migration1.22.fs.hierarchy";

/// How segment files are called (`data-directory.md 4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameStyle {
    /// `segment-<id>.db`.
    Short,
    /// `segment-<id>.l<level>.s0.db`.
    Long,
}

/// A file beside a segment that no reader needs (`lsm-segment.md 6`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sidecar {
    /// `.cna`: live keys that are new in the segment, minus tombstones over older live keys.
    NetAdditions(i64),
    /// `.bloom`: the primary bloom filter. The bytes stand behind a right checksum, they need
    /// not be a filter.
    Bloom(Vec<u8>),
    /// `.secondary.<slot>.bloom`, likewise.
    SecondaryBloom(u16, Vec<u8>),
}

/// Makes a data directory and knows its schema.
#[derive(Debug)]
pub struct DirectoryWriter {
    root: PathBuf,
    classes: Vec<(String, bool)>,
}

impl DirectoryWriter {
    /// Makes the directory `root` if need be, with the layout marker.
    ///
    /// # Errors
    /// The directory or the marker cannot be made.
    pub fn create(root: &Path) -> Result<Self, EncodeError> {
        create_directory(root, 0o755)?;
        create_file(&root.join(LAYOUT_MARKER))?;
        Ok(Self { root: root.to_owned(), classes: Vec::new() })
    }

    /// Makes the directory of a class. A multi-tenant class without tenants stays empty.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn class(&mut self, name: &str, multi_tenant: bool) -> Result<ClassWriter, EncodeError> {
        let path = self.root.join(name.to_ascii_lowercase());
        create_directory(&path, 0o755)?;
        self.classes.push((name.to_owned(), multi_tenant));
        Ok(ClassWriter { path })
    }

    /// The schema as `GET /v1/schema` answers, as far as an export needs it.
    pub fn schema(&self) -> Value {
        let classes: Vec<Value> = self
            .classes
            .iter()
            .map(|(name, multi_tenant)| {
                json!({
                    "class": name,
                    "multiTenancyConfig": {
                        "autoTenantActivation": false,
                        "autoTenantCreation": false,
                        "enabled": multi_tenant,
                    },
                    "properties": [],
                    "replicationConfig": { "factor": 1 },
                    "vectorizer": "none",
                })
            })
            .collect();
        json!({ "classes": classes })
    }

    /// Writes the schema to the file `path`, which should lie outside the data directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_schema(&self, path: &Path) -> Result<(), EncodeError> {
        let create = |source| EncodeError::Create { path: path.to_owned(), source };
        fs::write(path, format!("{:#}\n", self.schema())).map_err(create)
    }
}

/// The directory of one class.
#[derive(Debug)]
pub struct ClassWriter {
    path: PathBuf,
}

impl ClassWriter {
    /// Makes a shard, or a tenant, with an empty objects bucket and the small files beside it.
    ///
    /// # Errors
    /// A directory or file cannot be made.
    pub fn shard(&self, name: &str) -> Result<ShardWriter, EncodeError> {
        let shard = self.path.join(name);
        create_directory(&shard, 0o755)?;
        write_file(&shard.join("indexcount"), &0_u64.to_le_bytes())?;
        write_file(&shard.join("version"), &2_u16.to_le_bytes())?;
        write_file(&shard.join("proplengths"), b"{}")?;
        let lsm = shard.join("lsm");
        create_directory(&lsm, 0o700)?;
        let objects = lsm.join("objects");
        create_directory(&objects, 0o700)?;
        create_directory(&lsm.join("property__id"), 0o700)?;
        Ok(ShardWriter { objects })
    }

    /// Where the class lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The objects bucket of one shard.
#[derive(Debug)]
pub struct ShardWriter {
    objects: PathBuf,
}

impl ShardWriter {
    /// The objects bucket `objects` of a shard that a server has made.
    pub fn of_server(objects: &Path) -> Self {
        Self { objects: objects.to_owned() }
    }

    /// Starts the segment of the memtable `id` (Unix nanoseconds, 19 digits).
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn segment(
        &self,
        id: u64,
        style: NameStyle,
        options: SegmentOptions,
    ) -> Result<SegmentWriter<BufWriter<File>>, EncodeError> {
        let name = format!("{}.db", segment_stem(id, style, options.level));
        SegmentWriter::new(BufWriter::new(create_file(&self.objects.join(name))?), options)
    }

    /// Starts the log of the memtable `id`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn wal(&self, id: u64) -> Result<WalWriter<BufWriter<File>>, EncodeError> {
        let name = format!("segment-{id:019}.wal");
        Ok(WalWriter::new(BufWriter::new(create_file(&self.objects.join(name))?)))
    }

    /// Writes a sidecar of the segment with this id, name style and level.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sidecar(
        &self,
        id: u64,
        style: NameStyle,
        level: u16,
        sidecar: &Sidecar,
    ) -> Result<(), EncodeError> {
        let (extension, content) = match sidecar {
            Sidecar::NetAdditions(count) => ("cna".to_owned(), count.to_le_bytes().to_vec()),
            Sidecar::Bloom(filter) => ("bloom".to_owned(), filter.clone()),
            Sidecar::SecondaryBloom(slot, filter) => {
                (format!("secondary.{slot}.bloom"), filter.clone())
            }
        };
        let mut bytes = crc32fast::hash(&content).to_le_bytes().to_vec();
        bytes.extend(content);
        let name = format!("{}.{extension}", segment_stem(id, style, level));
        write_file(&self.objects.join(name), &bytes)
    }

    /// The bucket's directory, for files that no server would leave there.
    pub fn path(&self) -> &Path {
        &self.objects
    }
}

/// A segment's file name without its extension.
fn segment_stem(id: u64, style: NameStyle, level: u16) -> String {
    match style {
        NameStyle::Short => format!("segment-{id:019}"),
        NameStyle::Long => format!("segment-{id:019}.l{level}.s0"),
    }
}

fn create_directory(path: &Path, mode: u32) -> Result<(), EncodeError> {
    let create = || -> io::Result<()> {
        fs::create_dir_all(path)?;
        set_mode(path, mode)
    };
    create().map_err(|source| EncodeError::Create { path: path.to_owned(), source })
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

fn create_file(path: &Path) -> Result<File, EncodeError> {
    File::create(path).map_err(|source| EncodeError::Create { path: path.to_owned(), source })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), EncodeError> {
    fs::write(path, bytes).map_err(|source| EncodeError::Create { path: path.to_owned(), source })
}
