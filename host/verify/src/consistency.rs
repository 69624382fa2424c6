//! Whether a manifest agrees with itself: names, sums, blocks and shards.
use std::collections::{BTreeMap, BTreeSet};

use crate::difference::Difference;
use offloom_protocol::manifest::{ClassFile, Manifest, Missing, ProgressStatus, Shard};
use offloom_protocol::names::{Attempt, ObjectKey, check_class_key, check_shard_name};

/// Every contradiction in the manifest of a successful export.
pub(crate) fn check(manifest: &Manifest, shards: &[Shard]) -> Vec<Difference> {
    let mut check = Check { differences: Vec::new() };
    check.classes(manifest);
    let rows = check.files(manifest);
    check.progress(manifest, &rows);
    check.attachments(manifest);
    check.shards(manifest, shards, &rows);
    check.missing(manifest, shards);
    check.differences
}

struct Check {
    differences: Vec<Difference>,
}

/// Attempts whose mark a file may have.
const MAX_ATTEMPTS: u32 = 1_000;

impl Check {
    fn say(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.differences
            .push(Difference::Manifest { place: place.into(), problem: problem.into() });
    }

    fn classes(&mut self, manifest: &Manifest) {
        for (number, class) in manifest.classes.iter().enumerate() {
            if let Err(error) = check_class_key(class) {
                self.say(format!("classes[{number}]"), error.to_string());
            }
        }
        if !manifest.classes.is_sorted_by(|a, b| a < b) {
            self.say("classes", "they are not sorted, or one occurs twice");
        }
    }

    /// Returns the rows of each class.
    fn files<'a>(&mut self, manifest: &'a Manifest) -> BTreeMap<&'a str, u64> {
        let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        // A class that was begun again has the mark of its attempt.
        let attempts = manifest.resumed.as_ref().map_or(1, |resumed| resumed.attempt);
        let attempts = attempts.min(MAX_ATTEMPTS);
        for (place, file) in manifest.files.iter().enumerate() {
            let place = format!("files[{place}]");
            let number = numbers.entry(&file.class).or_insert(0);
            *number = number.saturating_add(1);
            let key_of = |attempt| {
                ObjectKey::class_file(&file.class, *number, &file.format.extension, attempt)
            };
            let is_of = |attempt| key_of(attempt).is_ok_and(|key| key.as_str() == file.key);
            match key_of(Attempt::FIRST) {
                Ok(_) if (1..=attempts).map(Attempt::new).any(is_of) => {}
                Ok(key) => {
                    self.say(format!("{place}.key"), format!("'{}', not '{key}'", shown(&file.key)))
                }
                Err(error) => self.say(place.clone(), error.to_string()),
            }
            if manifest.classes.binary_search(&file.class).is_err() {
                self.say(
                    format!("{place}.class"),
                    format!("'{}' is not in classes", shown(&file.class)),
                );
            }
            self.blocks(&place, file);
            let sum = rows.entry(&file.class).or_insert(0);
            *sum = sum.saturating_add(file.rows);
        }
        for class in &manifest.classes {
            if !numbers.contains_key(class.as_str()) {
                self.say("files", format!("there is none of the class {}", shown(class)));
            }
        }
        rows
    }

    /// Blocks follow each other without a gap, end within the file and hold its rows.
    fn blocks(&mut self, place: &str, file: &ClassFile) {
        let mut end = file.blocks.first().map_or(0, |block| block.offset);
        let mut rows = 0_u64;
        for (number, block) in file.blocks.iter().enumerate() {
            if block.offset != end || block.length == 0 || block.rows == 0 {
                return self.say(
                    format!("{place}.blocks[{number}]"),
                    format!(
                        "offset {}, length {}, rows {}, where the block before ends at {end}",
                        block.offset, block.length, block.rows
                    ),
                );
            }
            end = block.offset.saturating_add(block.length);
            rows = rows.saturating_add(block.rows);
        }
        if end > file.size_bytes {
            self.say(
                format!("{place}.blocks"),
                format!("they end at {end}, the file at {}", file.size_bytes),
            );
        }
        if rows != file.rows {
            self.say(format!("{place}.rows"), format!("{}, and its blocks have {rows}", file.rows));
        }
    }

    fn progress(&mut self, manifest: &Manifest, rows: &BTreeMap<&str, u64>) {
        for class in &manifest.classes {
            let expected = rows.get(class.as_str()).copied().unwrap_or(0);
            match manifest.progress.get(class) {
                None => {
                    self.say("progress", format!("there is none of the class {}", shown(class)))
                }
                Some(progress) => {
                    let place = format!("progress.{}", shown(class));
                    if !matches!(progress.status, ProgressStatus::Success | ProgressStatus::Skipped)
                    {
                        self.say(
                            place.clone(),
                            format!("{:?} in a successful export", progress.status),
                        );
                    }
                    if progress.objects_exported != expected {
                        self.say(
                            format!("{place}.objectsExported"),
                            format!(
                                "{}, and its files have {expected} rows",
                                progress.objects_exported
                            ),
                        );
                    }
                }
            }
        }
        for class in manifest.progress.keys() {
            if manifest.classes.binary_search(class).is_err() {
                self.say(format!("progress.{}", shown(class)), "it is not in classes");
            }
        }
    }

    fn attachments(&mut self, manifest: &Manifest) {
        let mut keys: BTreeSet<&str> =
            manifest.files.iter().map(|file| file.key.as_str()).collect();
        for (number, object) in manifest.attachments.iter().enumerate() {
            let place = format!("attachments[{number}].key");
            if let Err(error) = ObjectKey::parse(&object.key) {
                self.say(place.clone(), error.to_string());
            }
            if !keys.insert(&object.key) {
                self.say(place, format!("'{}' occurs twice", shown(&object.key)));
            }
        }
    }

    /// A partial export says so, and says of every part that it lacks what its shards say.
    fn missing(&mut self, manifest: &Manifest, shards: &[Shard]) {
        if manifest.partial == manifest.missing.is_empty() {
            let count = manifest.missing.len();
            self.say("partial", format!("{}, and {count} parts are missing", manifest.partial));
        }
        let lacks: BTreeSet<Lack<'_>> = lacks(shards).collect();
        let mut listed = BTreeSet::new();
        for (number, Missing { class, shard, objects, .. }) in manifest.missing.iter().enumerate() {
            let lack = (class.as_str(), shard.as_deref(), *objects);
            // A class that is missing as a whole has no shards to say so.
            if !listed.insert(lack) || (shard.is_some() && !lacks.contains(&lack)) {
                let problem = "it occurs twice, or its shard says otherwise";
                self.say(format!("missing[{number}]"), problem);
            }
        }
        for (class, shard, _) in lacks.difference(&listed) {
            let (class, shard) = (shown(class), shown(shard.unwrap_or_default()));
            self.say(
                "missing",
                format!("it does not list what is left out of {class}, shard {shard}"),
            );
        }
    }

    fn shards(&mut self, manifest: &Manifest, shards: &[Shard], rows: &BTreeMap<&str, u64>) {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (number, shard) in shards.iter().enumerate() {
            let place = format!("shards[{number}]");
            if let Err(error) = check_shard_name(&shard.shard) {
                self.say(place.clone(), error.to_string());
            }
            if manifest.classes.binary_search(&shard.class).is_err() {
                self.say(
                    place.clone(),
                    format!("the class '{}' is not in classes", shown(&shard.class)),
                );
            }
            if !seen.insert((&shard.class, &shard.shard)) {
                self.say(place.clone(), format!("'{}' occurs twice", shown(&shard.shard)));
            }
            let has_ids = shard.first_id.is_some() && shard.last_id.is_some();
            if has_ids != (shard.rows > 0) {
                self.say(
                    place,
                    format!("{} rows, and firstId or lastId do not fit that", shard.rows),
                );
            }
            let sum = sums.entry(&shard.class).or_insert(0);
            *sum = sum.saturating_add(shard.rows);
        }
        for (class, &expected) in rows {
            let found = sums.get(class).copied().unwrap_or(0);
            if found != expected {
                self.say(
                    "shards",
                    format!("those of {} have {found} rows, its files {expected}", shown(class)),
                );
            }
        }
    }
}

/// What an entry of `missing` is about: class, shard, and how many objects when they are counted.
type Lack<'a> = (&'a str, Option<&'a str>, Option<u64>);

/// What the shards say that the files lack: all or a part of a shard, or counted objects of it.
fn lacks<'a>(shards: &'a [Shard]) -> impl Iterator<Item = Lack<'a>> {
    shards.iter().flat_map(|shard| {
        let lack = |objects| (shard.class.as_str(), Some(shard.shard.as_str()), objects);
        let unread = shard.error.as_ref().map(|_| lack(None));
        unread.into_iter().chain(shard.objects_left_out.map(|count| lack(Some(count))))
    })
}

/// A name out of a manifest that anybody may have altered.
fn shown(name: &str) -> String {
    name.chars().take(300).flat_map(char::escape_debug).collect()
}
