//! The steps of a proof, and what it reports.
use std::collections::{BTreeMap, BTreeSet};

use offloom_protocol::digest::{DigestError, digest_of};
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{ClassFile, Manifest, ManifestError, Outcome, Shard};
use offloom_protocol::names::{Attempt, ObjectKey};
use offloom_protocol::store::ExportFolder;

use crate::column::ParquetFile;
use crate::difference::Difference;
use crate::footer::{self, FooterError};
use crate::progress::{OnProgress, Progress};
use crate::unproved::Unproved;
use crate::{consistency, runs};

/// What a Parquet file begins and ends with.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// How much is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The manifest agrees with itself, every object that it lists is there with its size, nothing
    /// else is, and the footer of every Parquet file describes exactly the listed blocks.
    Quick,
    /// Also every digest, the rows of every shard's run with their order, and that no id stands
    /// twice in a class (in a tenant, where there are tenants).
    Full,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What the export says about itself.
    pub manifest: Manifest,
    /// Where the export differs from its manifest; empty when it is whole.
    pub differences: Vec<Difference>,
    /// What could not be proved and why, such as rows of a format that is not Parquet.
    pub unproved: Vec<Unproved>,
}

impl Report {
    /// Whether nothing differs.
    pub fn is_whole(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether the footer of any file was compared with its blocks.
    pub fn has_proved_rows(&self) -> bool {
        self.manifest.files.iter().any(|file| file.format.claims_parquet())
    }

    /// Whether all ids of any class were compared.
    pub fn has_proved_ids(&self) -> bool {
        let unproved: BTreeSet<&str> = self.unproved.iter().map(Unproved::class).collect();
        self.manifest.classes.iter().any(|class| !unproved.contains(class.as_str()))
    }
}

/// A proof that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no manifest that can be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime is shutting down.
    #[error("interrupted")]
    Interrupted,
}

/// Compares an export with its manifest. For a FAILED or CANCELED export, only that is reported.
///
/// # Errors
/// [`VerifyError`] when the comparison could not be made; what was found is in the [`Report`].
pub async fn verify(
    folder: &ExportFolder,
    depth: Depth,
    on_progress: OnProgress,
) -> Result<Report, VerifyError> {
    let manifest = Manifest::read(folder).await?;
    let mut report = Report { manifest, differences: Vec::new(), unproved: Vec::new() };
    if report.manifest.status != Outcome::Success {
        report.differences.push(Difference::Outcome {
            outcome: report.manifest.status,
            error: report.manifest.error.clone(),
        });
        return Ok(report);
    }
    Verification { folder, on_progress, report }.run(depth).await
}

struct Verification<'a> {
    folder: &'a ExportFolder,
    on_progress: OnProgress,
    report: Report,
}

/// Attempts whose claims are looked for.
const MAX_ATTEMPTS: u32 = 100_000;

impl Verification<'_> {
    async fn run(mut self, depth: Depth) -> Result<Report, VerifyError> {
        let sound = self.compare_objects().await?;
        let shards = match self.shards(&sound).await? {
            Some(shards) => {
                let problems = consistency::check(&self.report.manifest, &shards);
                self.report.differences.extend(problems);
                shards
            }
            None => Vec::new(),
        };
        let mut readable = self.read_footers(&sound).await?;
        if depth == Depth::Full {
            let altered = self.compare_digests(&sound).await?;
            readable.retain(|key, _| !altered.contains(key.as_str()));
            self.compare_rows(readable, shards).await?;
        }
        Ok(self.report)
    }

    /// Compares what the folder holds with what the manifest lists. Returns the keys of objects
    /// that exist with their size.
    async fn compare_objects(&mut self) -> Result<BTreeSet<String>, VerifyError> {
        let found: BTreeMap<String, u64> = self
            .folder
            .list(usize::MAX)
            .await?
            .into_iter()
            .map(|object| (object.key, object.size_bytes))
            .collect();
        let manifest = &self.report.manifest;
        let files = manifest.files.iter().map(|file| (&file.key, file.size_bytes));
        let attachments =
            manifest.attachments.iter().map(|object| (&object.key, object.size_bytes));
        let attempts = manifest.resumed.as_ref().map_or(1, |resumed| resumed.attempt);
        let claims = (1..=attempts.min(MAX_ATTEMPTS)).map(|n| ObjectKey::claim(Attempt::new(n)));
        let mut listed: BTreeSet<String> =
            claims.chain([ObjectKey::manifest()]).map(|key| key.to_string()).collect();
        let mut sound = BTreeSet::new();
        for (key, expected) in files.chain(attachments) {
            match found.get(key) {
                None => {
                    self.report.differences.push(Difference::MissingObject { key: key.clone() })
                }
                Some(&size) if size != expected => self.report.differences.push(Difference::Size {
                    key: key.clone(),
                    found_bytes: size,
                    expected_bytes: expected,
                }),
                Some(_) => {
                    sound.insert(key.clone());
                }
            }
            listed.insert(key.clone());
        }
        let unlisted = found.into_iter().filter(|(key, _)| !listed.contains(key));
        self.report.differences.extend(
            unlisted.map(|(key, size_bytes)| Difference::UnlistedObject { key, size_bytes }),
        );
        Ok(sound)
    }

    /// The shards, unless they lie in an object that is missing or not what was written.
    async fn shards(
        &mut self,
        sound: &BTreeSet<String>,
    ) -> Result<Option<Vec<Shard>>, VerifyError> {
        if let Some(key) = &self.report.manifest.source.shards_key
            && !sound.contains(key)
        {
            if !self.report.manifest.attachments.iter().any(|object| object.key == *key) {
                self.report.differences.push(Difference::Manifest {
                    place: "source.shardsKey".to_owned(),
                    problem: format!("'{}' is no attachment", key.escape_debug()),
                });
            }
            return Ok(None);
        }
        match self.report.manifest.shards(self.folder).await {
            Ok(shards) => Ok(Some(shards)),
            Err(ManifestError::Malformed { reason, .. }) => {
                self.report
                    .differences
                    .push(Difference::Manifest { place: "shards".to_owned(), problem: reason });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Compares the end of every Parquet file with its listed blocks. Returns the files whose
    /// rows can be read.
    async fn read_footers(
        &mut self,
        sound: &BTreeSet<String>,
    ) -> Result<BTreeMap<ObjectKey, ParquetFile>, VerifyError> {
        let mut readable = BTreeMap::new();
        for file in &self.report.manifest.files {
            let Ok(key) = ObjectKey::parse(&file.key) else { continue };
            if !sound.contains(&file.key) {
                continue;
            }
            if !file.format.claims_parquet() {
                self.report.unproved.push(Unproved::Format {
                    class: file.class.clone(),
                    key: file.key.clone(),
                    format: file.format.name.clone(),
                });
                continue;
            }
            match read_footer(self.folder, &key, file).await? {
                Ok(parquet) => {
                    readable.insert(key, parquet);
                }
                Err(problem) => {
                    let key = file.key.clone();
                    self.report.differences.push(Difference::Footer { key, problem });
                }
            }
        }
        Ok(readable)
    }

    /// Returns the keys of objects whose bytes are not those that were written.
    async fn compare_digests(
        &mut self,
        sound: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, VerifyError> {
        let manifest = &self.report.manifest;
        let files = manifest.files.iter().map(|file| (&file.key, file.size_bytes, &file.digest));
        let attachments = manifest
            .attachments
            .iter()
            .map(|object| (&object.key, object.size_bytes, &object.digest));
        let objects: Vec<_> =
            files.chain(attachments).filter(|(key, ..)| sound.contains(*key)).collect();
        let total_bytes = objects.iter().map(|(_, size, _)| *size).fold(0, u64::saturating_add);
        let mut done_bytes = 0;
        let mut altered = BTreeSet::new();
        for (key, size_bytes, expected) in objects {
            let Ok(object) = ObjectKey::parse(key) else { continue };
            let on_bytes = |bytes: u64| {
                let done_bytes = bytes.saturating_add(done_bytes);
                (self.on_progress)(Progress::Digests { done_bytes, total_bytes });
            };
            let (folder, algorithm) = (self.folder, expected.algorithm);
            let found = digest_of(folder, &object, algorithm, size_bytes, on_bytes).await?;
            done_bytes = size_bytes.saturating_add(done_bytes);
            if found != *expected {
                altered.insert(key.clone());
                self.report.differences.push(Difference::Digest {
                    key: key.clone(),
                    found,
                    expected: expected.clone(),
                });
            }
        }
        Ok(altered)
    }

    /// Reads the ids of every class whose files are all as they were written.
    async fn compare_rows(
        &mut self,
        mut readable: BTreeMap<ObjectKey, ParquetFile>,
        shards: Vec<Shard>,
    ) -> Result<(), VerifyError> {
        let mut runs_by_class: BTreeMap<String, Vec<Shard>> = BTreeMap::new();
        for shard in shards {
            runs_by_class.entry(shard.class.clone()).or_default().push(shard);
        }
        let mut classes = Vec::new();
        for class in &self.report.manifest.classes {
            let listed = || self.report.manifest.files.iter().filter(|file| file.class == *class);
            let files: Vec<ParquetFile> = listed()
                .filter_map(|file| readable.remove(&ObjectKey::parse(&file.key).ok()?))
                .collect();
            let runs = runs_by_class.remove(class).unwrap_or_default();
            let rows = |sum: u64, n: u64| sum.saturating_add(n);
            let rows_of_runs = runs.iter().map(|run| run.rows).fold(0, rows);
            let rows_of_files = files.iter().map(ParquetFile::rows).fold(0, rows);
            if listed().any(|file| !file.format.claims_parquet()) {
                // Already reported, file by file.
            } else if files.len() != listed().count() || rows_of_runs != rows_of_files {
                let class = class.clone();
                self.report.unproved.push(Unproved::Differences { class });
            } else {
                classes.push(runs::ClassRows::new(class.clone(), files, runs));
            }
        }
        let folder = self.folder.clone();
        let on_progress = self.on_progress.clone();
        let runtime = tokio::runtime::Handle::current();
        let compared = tokio::task::spawn_blocking(move || {
            runs::compare(classes, &folder, &runtime, &*on_progress)
        });
        match compared.await {
            Ok((differences, unproved)) => {
                self.report.differences.extend(differences);
                self.report.unproved.extend(unproved);
                Ok(())
            }
            Err(_shutdown) => Err(VerifyError::Interrupted),
        }
    }
}

async fn read_footer(
    folder: &ExportFolder,
    key: &ObjectKey,
    file: &ClassFile,
) -> Result<Result<ParquetFile, FooterError>, StoreError> {
    let magic_bytes = PARQUET_MAGIC.len() as u64;
    let end_of_blocks = match file.blocks.last() {
        Some(block) => block.offset.saturating_add(block.length),
        None => magic_bytes,
    };
    if end_of_blocks >= file.size_bytes || end_of_blocks < magic_bytes {
        return Ok(Err(FooterError::NoParquet));
    }
    let bytes = file.size_bytes.saturating_sub(end_of_blocks);
    if let Err(too_long) = footer::check_length(bytes, &file.blocks) {
        return Ok(Err(too_long));
    }
    if folder.read_range(key, 0..magic_bytes).await? != PARQUET_MAGIC {
        return Ok(Err(FooterError::NoParquet));
    }
    let file_end = folder.read_range(key, end_of_blocks..file.size_bytes).await?;
    let metadata = footer::read_footer(end_of_blocks, &file_end, &file.blocks);
    Ok(metadata.map(|metadata| ParquetFile::new(key.clone(), file.size_bytes, metadata)))
}

impl From<DigestError> for VerifyError {
    fn from(error: DigestError) -> VerifyError {
        match error {
            DigestError::Store(error) => VerifyError::Store(error),
            DigestError::Interrupted => VerifyError::Interrupted,
        }
    }
}
