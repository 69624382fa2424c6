//! One column of text, read row by row through the files of a class.
use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::runtime::Handle;

use crate::pages::{BATCH_ROWS, BoundedPages, OpenPages, PageError};
use crate::ranged::RangedObject;
use offloom_protocol::names::ObjectKey;
use offloom_protocol::store::ExportFolder;

/// A Parquet file whose footer describes its blocks.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    pub(crate) key: ObjectKey,
    size_bytes: u64,
    metadata: ParquetMetaData,
}

impl ParquetFile {
    /// `metadata` is that of the file at `key`.
    pub(crate) fn new(key: ObjectKey, size_bytes: u64, metadata: ParquetMetaData) -> ParquetFile {
        ParquetFile { key, size_bytes, metadata }
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> u64 {
        self.metadata.row_groups().iter().map(rows_of).fold(0, u64::saturating_add)
    }

    /// The place of a column of text that is not nested.
    pub(crate) fn text_column(&self, name: &str) -> Option<usize> {
        self.metadata.file_metadata().schema_descr().columns().iter().position(|column| {
            column.path().parts() == [name]
                && column.max_rep_level() == 0
                && column.physical_type() == Type::BYTE_ARRAY
        })
    }
}

fn rows_of(row_group: &RowGroupMetaData) -> u64 {
    u64::try_from(row_group.num_rows()).unwrap_or(0)
}

/// A column that could not be read on.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Key of the file.
    pub(crate) key: String,
    /// From 0.
    pub(crate) row_group: usize,
    /// Its name.
    pub(crate) column: &'static str,
    /// What the reader said.
    pub(crate) reason: String,
    /// Whether it may be right, and only this proof does not read it.
    pub(crate) is_unproved: bool,
}

/// Where a value was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the file in the class.
    pub(crate) file: usize,
    /// Row in the file, from 0.
    pub(crate) row: u64,
}

/// The values of one column in all files of a class, from some row on.
pub(crate) struct TextColumn {
    files: Arc<[ParquetFile]>,
    name: &'static str,
    folder: ExportFolder,
    runtime: Handle,
    pages: OpenPages,
    /// The file and the row group that come next.
    next: (usize, usize),
    /// The place of the next value.
    place: Place,
    open: Option<OpenRowGroup>,
    values: std::vec::IntoIter<ByteArray>,
}

struct OpenRowGroup {
    file: usize,
    row_group: usize,
    left_rows: usize,
    reader: ColumnReaderImpl<ByteArrayType>,
}

impl TextColumn {
    /// Begins at `row` of the class.
    pub(crate) fn new(
        files: &Arc<[ParquetFile]>,
        name: &'static str,
        row: u64,
        folder: &ExportFolder,
        runtime: &Handle,
        pages: &OpenPages,
    ) -> std::result::Result<TextColumn, Unreadable> {
        let mut column = TextColumn {
            files: files.clone(),
            name,
            folder: folder.clone(),
            runtime: runtime.clone(),
            pages: pages.clone(),
            next: (0, 0),
            place: Place { file: 0, row: 0 },
            open: None,
            values: Vec::new().into_iter(),
        };
        column.skip(row)?;
        Ok(column)
    }

    /// The next value and where it stands, or `None` after the last.
    pub(crate) fn next(&mut self) -> std::result::Result<Option<(ByteArray, Place)>, Unreadable> {
        loop {
            if let Some(value) = self.values.next() {
                let place = self.place;
                self.place.row = place.row.saturating_add(1);
                return Ok(Some((value, place)));
            }
            match &mut self.open {
                Some(open) => match open.read() {
                    Ok(Some(values)) => self.values = values.into_iter(),
                    Ok(None) => self.open = None,
                    Err(error) => return Err(self.unreadable(open_place(&self.open), &error)),
                },
                None => {
                    if !self.open_next()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn skip(&mut self, mut rows: u64) -> std::result::Result<(), Unreadable> {
        while rows > 0 {
            let Some((file, row_group)) = self.find_next() else { return Ok(()) };
            let group_rows = self.rows_at(file, row_group);
            if group_rows <= rows {
                self.next = (file, row_group.saturating_add(1));
                self.place.row = self.place.row.saturating_add(group_rows);
                rows = rows.saturating_sub(group_rows);
                continue;
            }
            self.open_next()?;
            let skipped = usize::try_from(rows)
                .map_err(ParquetError::from)
                .and_then(|rows| self.open.as_mut().map_or(Ok(()), |open| open.skip(rows)));
            skipped.map_err(|error| self.unreadable((file, row_group), &error))?;
            self.place.row = self.place.row.saturating_add(rows);
            rows = 0;
        }
        Ok(())
    }

    fn rows_at(&self, file: usize, row_group: usize) -> u64 {
        let groups = self.files.get(file).map(|file| file.metadata.row_groups());
        groups.and_then(|groups| groups.get(row_group)).map_or(0, rows_of)
    }

    /// The next row group, in this file or a later one.
    fn find_next(&mut self) -> Option<(usize, usize)> {
        loop {
            let (file, row_group) = self.next;
            if row_group < self.files.get(file)?.metadata.num_row_groups() {
                return Some(self.next);
            }
            let file = file.saturating_add(1);
            self.next = (file, 0);
            self.place = Place { file, row: 0 };
        }
    }

    fn open_next(&mut self) -> std::result::Result<bool, Unreadable> {
        let Some((file, row_group)) = self.find_next() else { return Ok(false) };
        self.next = (file, row_group.saturating_add(1));
        let opened = self.open_at(file, row_group);
        self.open = Some(opened.map_err(|error| self.unreadable((file, row_group), &error))?);
        Ok(true)
    }

    fn open_at(&self, file: usize, row_group: usize) -> Result<OpenRowGroup> {
        let absent = || ParquetError::General(format!("there is no text column '{}'", self.name));
        let number = row_group;
        let parquet = self.files.get(file).ok_or_else(absent)?;
        let row_group = parquet.metadata.row_groups().get(number).ok_or_else(absent)?;
        let column = parquet.text_column(self.name).ok_or_else(absent)?;
        let chunk = row_group.columns().get(column).ok_or_else(absent)?;
        let rows = usize::try_from(row_group.num_rows())?;
        let object =
            RangedObject::new(&self.folder, &parquet.key, parquet.size_bytes, &self.runtime);
        let pages = BoundedPages::new(object, chunk, rows, &self.pages)?;
        match get_column_reader(chunk.column_descr_ptr(), Box::new(pages)) {
            ColumnReader::ByteArrayColumnReader(reader) => {
                Ok(OpenRowGroup { file, row_group: number, left_rows: rows, reader })
            }
            _ => Err(absent()),
        }
    }

    fn unreadable(&self, (file, row_group): (usize, usize), error: &ParquetError) -> Unreadable {
        Unreadable {
            key: self.files.get(file).map_or_else(String::new, |file| file.key.to_string()),
            row_group,
            column: self.name,
            reason: page_error(error).map_or_else(|| error.to_string(), PageError::to_string),
            is_unproved: page_error(error).is_some_and(PageError::is_unproved),
        }
    }
}

fn page_error(error: &ParquetError) -> Option<&PageError> {
    match error {
        ParquetError::External(source) => source.downcast_ref(),
        _ => None,
    }
}

fn open_place(open: &Option<OpenRowGroup>) -> (usize, usize) {
    open.as_ref().map_or((0, 0), |open| (open.file, open.row_group))
}

impl OpenRowGroup {
    fn skip(&mut self, rows: usize) -> Result<()> {
        let skipped = self.reader.skip_records(rows)?;
        self.left_rows = self.left_rows.saturating_sub(skipped);
        if skipped == rows { Ok(()) } else { Err(too_few(self.left_rows)) }
    }

    /// Some values, or `None` once the row group's rows were read and nothing is left.
    fn read(&mut self) -> Result<Option<Vec<ByteArray>>> {
        // One more than there should be, to see whether there is.
        let wanted = self.left_rows.saturating_add(1).min(BATCH_ROWS);
        let mut values = Vec::with_capacity(wanted);
        let mut levels = Vec::new();
        let (rows, found, _) =
            self.reader.read_records(wanted, Some(&mut levels), None, &mut values)?;
        if rows == 0 && self.left_rows == 0 {
            return Ok(None);
        }
        if rows == 0 {
            return Err(too_few(self.left_rows));
        }
        if rows > self.left_rows {
            return Err(ParquetError::General("more values than rows".to_owned()));
        }
        if found != rows {
            return Err(ParquetError::General("a value is null".to_owned()));
        }
        self.left_rows = self.left_rows.saturating_sub(rows);
        Ok(Some(values))
    }
}

fn too_few(left_rows: usize) -> ParquetError {
    ParquetError::General(format!("the values of the last {left_rows} rows are missing"))
}
