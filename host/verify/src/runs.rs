//! The runs of a class's shards in its files: their ends, their order, and no id twice.
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::data_type::ByteArray;
use tokio::runtime::Handle;

use crate::column::{ParquetFile, Place, TextColumn, Unreadable};
use crate::difference::Difference;
use crate::pages::OpenPages;
use crate::progress::Progress;
use crate::unproved::Unproved;
use offloom_protocol::manifest::Shard;
use offloom_protocol::store::ExportFolder;

/// Ids that occur twice and are named, a class.
const MAX_NAMED_DOUBLES: u64 = 20;

/// Rows between two reports of progress.
const ROWS_PER_REPORT: u64 = 1 << 16;

/// A class whose files were not altered, and whose runs add up to their rows.
pub(crate) struct ClassRows {
    class: String,
    files: Arc<[ParquetFile]>,
    /// Runs with rows, in the order of the rows.
    runs: Vec<Shard>,
}

/// What was found, and what could not be proved.
pub(crate) type Findings = (Vec<Difference>, Vec<Unproved>);

impl ClassRows {
    pub(crate) fn new(class: String, files: Vec<ParquetFile>, mut runs: Vec<Shard>) -> ClassRows {
        runs.retain(|run| run.rows > 0);
        ClassRows { class, files: files.into(), runs }
    }

    fn has_column(&self, name: &str) -> bool {
        self.files.iter().all(|file| file.text_column(name).is_some())
    }

    /// Ids of several shards without a tenant must differ from shard to shard.
    fn is_merged(&self) -> bool {
        self.runs.len() > 1 && !self.has_column("tenant")
    }

    fn rows_to_read(&self) -> u64 {
        let rows = self.runs.iter().map(|run| run.rows).fold(0, u64::saturating_add);
        if self.is_merged() { rows.saturating_mul(2) } else { rows }
    }
}

/// Reads the ids of all classes. Blocks; `runtime` does the reading.
pub(crate) fn compare(
    classes: Vec<ClassRows>,
    folder: &ExportFolder,
    runtime: &Handle,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Findings {
    let total_rows = classes.iter().map(ClassRows::rows_to_read).fold(0, u64::saturating_add);
    let mut pass = Pass {
        folder,
        runtime,
        on_progress,
        total_rows,
        done_rows: 0,
        differences: Vec::new(),
        unproved: Vec::new(),
        pages: OpenPages::default(),
    };
    for class in classes {
        // The pages may be a hostile guest's. Should their reader panic, the proof fails, and that
        // of the other classes goes on.
        let compared = catch_unwind(AssertUnwindSafe(|| pass.class(&class)));
        match compared {
            Ok(Ok(())) => {}
            Ok(Err(Unreadable { column, reason, is_unproved: true, .. })) => {
                let (class, column) = (class.class, column.to_owned());
                pass.unproved.push(Unproved::Column { class, column, reason });
            }
            Ok(Err(Unreadable { key, row_group, column, reason, .. })) => {
                let column = column.to_owned();
                pass.differences.push(Difference::Unreadable { key, row_group, column, reason });
            }
            Err(_panic) => pass.differences.push(Difference::ReaderPanicked { class: class.class }),
        }
    }
    (pass.differences, pass.unproved)
}

struct Pass<'a> {
    folder: &'a ExportFolder,
    runtime: &'a Handle,
    on_progress: &'a (dyn Fn(Progress) + Send + Sync),
    total_rows: u64,
    done_rows: u64,
    differences: Vec<Difference>,
    unproved: Vec<Unproved>,
    pages: OpenPages,
}

impl Pass<'_> {
    fn class(&mut self, class: &ClassRows) -> Result<(), Unreadable> {
        if !class.has_column("id") {
            self.unproved.push(Unproved::NoIds { class: class.class.clone() });
            return Ok(());
        }
        let ascending = self.read_runs(class)?;
        if !class.is_merged() {
            return Ok(());
        }
        let reason = if ascending {
            match self.merge_runs(class) {
                Err(Unreadable { reason, is_unproved: true, .. }) => reason,
                merged => return merged,
            }
        } else {
            "they do not ascend".to_owned()
        };
        self.unproved.push(Unproved::BetweenShards { class: class.class.clone(), reason });
        Ok(())
    }

    fn column(
        &self,
        class: &ClassRows,
        name: &'static str,
        row: u64,
    ) -> Result<TextColumn, Unreadable> {
        TextColumn::new(&class.files, name, row, self.folder, self.runtime, &self.pages)
    }

    fn count_row(&mut self) {
        self.done_rows = self.done_rows.saturating_add(1);
        if self.done_rows.is_multiple_of(ROWS_PER_REPORT) || self.done_rows == self.total_rows {
            let (done_rows, total_rows) = (self.done_rows, self.total_rows);
            (self.on_progress)(Progress::Rows { done_rows, total_rows });
        }
    }

    /// Reads the class once, run by run. Returns whether every run ascends.
    fn read_runs(&mut self, class: &ClassRows) -> Result<bool, Unreadable> {
        let mut ids = self.column(class, "id", 0)?;
        let mut tenants = match class.has_column("tenant") {
            true => Some(self.column(class, "tenant", 0)?),
            false => None,
        };
        let mut all_ascend = true;
        for shard in &class.runs {
            let mut run = Run { class, shard, previous: None, ascends: true, one_tenant: true };
            for left in (0..shard.rows).rev() {
                let Some((id, place)) = ids.next()? else { break };
                self.differences.extend(run.id(id, place, left));
                if let Some(tenants) = &mut tenants
                    && let Some((tenant, place)) = tenants.next()?
                {
                    self.differences.extend(run.tenant(&tenant, place));
                }
                self.count_row();
            }
            all_ascend &= run.ascends;
        }
        // Nothing may follow the last run. The sums agreed; this checks the pages.
        ids.next()?;
        Ok(all_ascend)
    }

    /// Reads all runs side by side, in the order of their ids. Holds a page of ids a run.
    fn merge_runs(&mut self, class: &ClassRows) -> Result<(), Unreadable> {
        let mut columns = Vec::with_capacity(class.runs.len());
        let mut heads = BinaryHeap::with_capacity(class.runs.len());
        let mut row = 0_u64;
        for (number, run) in class.runs.iter().enumerate() {
            let mut column = self.column(class, "id", row)?;
            if let Some((id, _)) = column.next()? {
                heads.push(Head { id, run: number });
            }
            columns.push((column, run.rows.saturating_sub(1)));
            row = row.saturating_add(run.rows);
        }
        let mut doubles = 0_u64;
        let mut last: Option<Head> = None;
        while let Some(head) = heads.pop() {
            self.count_row();
            if let Some(last) = &last
                && last.id.data() == head.id.data()
            {
                doubles = doubles.saturating_add(1);
                if doubles <= MAX_NAMED_DOUBLES {
                    self.differences.push(Difference::DoubleId {
                        class: class.class.clone(),
                        id: text(&head.id),
                        shards: (shard_name(class, last.run), shard_name(class, head.run)),
                    });
                }
            }
            if let Some((column, left)) = columns.get_mut(head.run)
                && *left > 0
                && let Some((id, _)) = column.next()?
            {
                *left = left.saturating_sub(1);
                heads.push(Head { id, run: head.run });
            }
            last = Some(head);
        }
        if doubles > MAX_NAMED_DOUBLES {
            let more = doubles.saturating_sub(MAX_NAMED_DOUBLES);
            self.differences.push(Difference::MoreDoubleIds { class: class.class.clone(), more });
        }
        Ok(())
    }
}

fn shard_name(class: &ClassRows, run: usize) -> String {
    class.runs.get(run).map_or_else(String::new, |run| run.shard.clone())
}

/// What a message shows of a value: ids and tenants are short text, a hostile file's may not be.
fn text(value: &ByteArray) -> String {
    let shown = value.data().get(..80).unwrap_or(value.data());
    String::from_utf8_lossy(shown).escape_debug().to_string()
}

/// One shard's rows while they are read.
struct Run<'a> {
    class: &'a ClassRows,
    shard: &'a Shard,
    previous: Option<ByteArray>,
    ascends: bool,
    one_tenant: bool,
}

impl Run<'_> {
    /// Takes the next id, after which `left` rows follow.
    fn id(&mut self, id: ByteArray, place: Place, left: u64) -> Vec<Difference> {
        let mut differences = Vec::new();
        if self.previous.is_none() {
            differences.extend(self.end("first", self.shard.first_id.as_deref(), &id, place));
        }
        if left == 0 {
            differences.extend(self.end("last", self.shard.last_id.as_deref(), &id, place));
        }
        if let Some(previous) = &self.previous
            && self.ascends
        {
            match previous.data().cmp(id.data()) {
                Ordering::Less => {}
                Ordering::Equal => {
                    self.ascends = false;
                    differences.push(Difference::DoubleId {
                        class: self.class.class.clone(),
                        id: text(&id),
                        shards: (self.shard.shard.clone(), self.shard.shard.clone()),
                    });
                }
                Ordering::Greater => {
                    self.ascends = false;
                    differences.push(Difference::Order {
                        class: self.class.class.clone(),
                        shard: self.shard.shard.clone(),
                        key: self.key(place),
                        row: place.row,
                        id: text(&id),
                        previous: text(previous),
                    });
                }
            }
        }
        self.previous = Some(id);
        differences
    }

    fn end(
        &self,
        end: &'static str,
        expected: Option<&str>,
        id: &ByteArray,
        place: Place,
    ) -> Option<Difference> {
        let expected = expected.unwrap_or("absent");
        (id.data() != expected.as_bytes()).then(|| Difference::EndOfRun {
            class: self.class.class.clone(),
            shard: self.shard.shard.clone(),
            end,
            key: self.key(place),
            row: place.row,
            found: text(id),
            expected: expected.to_owned(),
        })
    }

    fn tenant(&mut self, tenant: &ByteArray, place: Place) -> Option<Difference> {
        if !self.one_tenant || tenant.data() == self.shard.shard.as_bytes() {
            return None;
        }
        self.one_tenant = false;
        Some(Difference::Tenant {
            class: self.class.class.clone(),
            tenant: self.shard.shard.clone(),
            found: text(tenant),
            key: self.key(place),
            row: place.row,
        })
    }

    fn key(&self, place: Place) -> String {
        self.class.files.get(place.file).map_or_else(String::new, |file| file.key.to_string())
    }
}

/// The next id of a run. The heap hands out the smallest first.
struct Head {
    id: ByteArray,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        other.id.data().cmp(self.id.data()).then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
