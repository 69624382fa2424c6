//! Exports with real Parquet files, written natively: what a guest's export looks like, and damage.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::manifest::{
    Block, ClassFile, ClassProgress, Commit, Manifest, ProgressStatus, Shard,
};
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_verify::{Depth, Difference, Report, verify};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::sample;

/// A shard and the ids of its rows.
pub type ShardRows = (&'static str, Vec<String>);

/// The `n`th id: ascending text.
pub fn id(n: u64) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

pub fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(id).collect()
}

/// An export on disk whose parts can be changed before and after its commit.
pub struct Exported {
    root: tempfile::TempDir,
    pub manifest: Manifest,
    /// How its files are written, on top of [`write_parquet`]'s own way.
    pub tune: Tune,
    pub rows_a_group: usize,
}

pub type Tune = fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder;

impl Exported {
    /// Without classes.
    pub fn new() -> Exported {
        let mut manifest = sample::manifest("e1");
        manifest.classes.clear();
        manifest.progress.clear();
        manifest.files.clear();
        manifest.source.shards.clear();
        Exported {
            root: tempfile::tempdir().unwrap(),
            manifest,
            tune: |properties| properties,
            rows_a_group: 1_000,
        }
    }

    /// One class with these rows.
    pub fn of(class: &str, shards: &[ShardRows]) -> Exported {
        let mut exported = Exported::new();
        exported.class(class, shards, false, usize::MAX);
        exported
    }

    pub fn path(&self, key: &str) -> PathBuf {
        let folder = self.root.path().join("e1");
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(key)
    }

    pub fn folder(&self) -> ExportFolder {
        let destination = Destination::parse(self.root.path().to_str().unwrap()).unwrap();
        destination.export_folder(&ExportId::parse("e1").unwrap()).unwrap()
    }

    /// Adds a class: row groups of `rows_a_group` rows that know no shard, files of `groups_a_file`.
    pub fn class(
        &mut self,
        class: &str,
        shards: &[ShardRows],
        multi_tenant: bool,
        groups_a_file: usize,
    ) {
        let rows: Vec<(String, String)> = shards
            .iter()
            .flat_map(|(shard, ids)| ids.iter().map(|id| (id.clone(), (*shard).to_owned())))
            .collect();
        let groups: Vec<&[(String, String)]> = rows.chunks(self.rows_a_group).collect();
        let mut files: Vec<&[&[(String, String)]]> = groups.chunks(groups_a_file).collect();
        if files.is_empty() {
            files.push(&[]);
        }
        for (number, groups) in files.into_iter().enumerate() {
            let key =
                ObjectKey::class_file(class, number as u32 + 1, "parquet", Attempt::FIRST).unwrap();
            let path = self.path(key.as_str());
            let blocks = write_parquet(&path, groups, multi_tenant, self.tune);
            self.manifest.files.push(ClassFile {
                class: class.to_owned(),
                key: key.to_string(),
                rows: groups.iter().map(|group| group.len() as u64).sum(),
                blocks,
                ..sample::manifest("e1").files.remove(0)
            });
        }
        for (shard, ids) in shards {
            self.manifest.source.shards.push(Shard {
                first_id: ids.first().cloned(),
                last_id: ids.last().cloned(),
                ..sample::shard(class, shard, ids.len() as u64)
            });
        }
        self.manifest.classes.push(class.to_owned());
        self.manifest.progress.insert(
            class.to_owned(),
            ClassProgress {
                status: ProgressStatus::Success,
                objects_exported: rows.len() as u64,
                objects_total: None,
                file_size_bytes: None,
                error: None,
                skip_reason: None,
            },
        );
        self.seal();
    }

    /// Makes sizes and digests those of the files as they are now.
    pub fn seal(&mut self) {
        for file in &mut self.manifest.files {
            let bytes = std::fs::read(self.root.path().join("e1").join(&file.key)).unwrap();
            file.size_bytes = bytes.len() as u64;
            file.digest = Digest::of(DigestAlgorithm::Blake3, &bytes);
        }
    }

    pub fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.path(key)).unwrap();
        change(&mut bytes);
        std::fs::write(self.path(key), bytes).unwrap();
    }

    /// Writes the manifest, whatever was there, and verifies.
    pub async fn report(&self, depth: Depth) -> Report {
        let _ = std::fs::remove_file(self.path("export_metadata.json"));
        let committed = self.manifest.clone().commit(&self.folder(), None).await.unwrap();
        assert_eq!(committed, Commit::Won);
        verify(&self.folder(), depth, Arc::new(|_| {})).await.unwrap()
    }

    pub async fn differences(&self, depth: Depth) -> Vec<Difference> {
        self.report(depth).await.differences
    }

    /// Quick and full find the same.
    pub async fn found_either_way(&self) -> Vec<Difference> {
        let quick = self.differences(Depth::Quick).await;
        assert_eq!(quick, self.differences(Depth::Full).await);
        quick
    }

    /// Quick finds nothing, and full finds this.
    pub async fn found_by_full(&self) -> Vec<Difference> {
        assert_eq!(self.differences(Depth::Quick).await, []);
        self.differences(Depth::Full).await
    }
}

/// Writes `(id, tenant)` rows as the default guest does, as far as columns matter to a proof.
/// Answers with the blocks.
pub fn write_parquet(
    path: &Path,
    groups: &[&[(String, String)]],
    multi_tenant: bool,
    tune: Tune,
) -> Vec<Block> {
    let tenant = if multi_tenant { "required binary tenant (string);" } else { "" };
    let schema = format!(
        "message schema {{ required binary id (string); required binary class_name (string); \
         {tenant} required int64 update_time; optional binary vector; }}"
    );
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()))
        .set_data_page_size_limit(8 * 1024)
        .set_write_batch_size(64)
        .set_column_dictionary_enabled("id".into(), false);
    let properties = tune(properties).build();
    let mut writer = SerializedFileWriter::new(
        std::fs::File::create(path).unwrap(),
        Arc::new(parse_message_type(&schema).unwrap()),
        Arc::new(properties),
    )
    .unwrap();
    for group in groups {
        let mut row_group = writer.next_row_group().unwrap();
        let ids = group.iter().map(|(id, _)| id.as_str());
        write_text(&mut row_group, ids, None);
        write_text(&mut row_group, group.iter().map(|_| "Article"), None);
        if multi_tenant {
            write_text(&mut row_group, group.iter().map(|(_, tenant)| tenant.as_str()), None);
        }
        let times: Vec<i64> = (0..group.len() as i64).map(|n| 1_700_000_000_000 + n).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&times, None, None).unwrap();
        column.close().unwrap();
        // Every third vector is null.
        let levels: Vec<i16> = (0..group.len()).map(|n| i16::from(n % 3 != 0)).collect();
        let vectors = levels.iter().filter(|level| **level > 0).map(|_| "0123456789abcdef");
        write_text(&mut row_group, vectors, Some(&levels));
        row_group.close().unwrap();
    }
    let metadata = writer.close().unwrap();
    metadata.row_groups().iter().map(block).collect()
}

/// The block that a row group fills.
pub fn block(row_group: &RowGroupMetaData) -> Block {
    let ranges = row_group.columns().iter().map(|column| column.byte_range());
    Block {
        offset: ranges.clone().map(|(start, _)| start).min().unwrap(),
        length: ranges.map(|(_, length)| length).sum(),
        rows: row_group.num_rows() as u64,
    }
}

fn write_text<'a>(
    row_group: &mut SerializedRowGroupWriter<'_, std::fs::File>,
    values: impl Iterator<Item = &'a str>,
    levels: Option<&[i16]>,
) {
    let values: Vec<ByteArray> = values.map(ByteArray::from).collect();
    let mut column = row_group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
    column.close().unwrap();
}
