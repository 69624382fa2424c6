//! The files of a shard's objects bucket: listing, opening and reading them.
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use cap_std::fs::{Dir, DirEntry, FileTypeExt, MetadataExt as _, OpenOptions, OpenOptionsExt};
use offloom_weaviate_access::explain;
use rustix::fs::OFlags;

use crate::{
    error::{LsmError, Place},
    layout::Layout,
    leftovers::{self, ListedFile},
    page_cache::UncachedPart,
};

/// Where the objects of one shard lie in one data directory.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The data directory; nothing outside of it can be opened.
    pub root: Arc<Dir>,
    /// Path of the data directory.
    pub directory: Arc<Path>,
    /// Whether several data directories are read together, so that messages name this one.
    pub one_of_several: bool,
    /// Name of the class in lower case, as in the paths of its shards.
    pub class_directory: Arc<str>,
    /// Exact class name, for messages.
    pub class: Arc<str>,
    /// Shard name, as in the paths of its files.
    pub shard: Arc<str>,
    /// How its files lie.
    pub layout: Layout,
}

impl Bucket {
    /// The place of a file of the bucket; of the bucket itself if `file` is empty.
    pub fn place(&self, file: &str) -> Place {
        Place {
            class: self.class.clone(),
            shard: self.shard.clone(),
            file: file.into(),
            node: self.one_of_several.then(|| self.directory.clone()),
        }
    }

    fn path(&self) -> String {
        self.layout.bucket_path(&self.class_directory, &self.shard)
    }

    /// The bucket's regular files, or `None` if there is no bucket (`data-directory.md` 3).
    ///
    /// # Errors
    /// When the directory, or a file with data in it, cannot be examined; when something else has the
    /// name of a file with data.
    pub fn list(&self) -> Result<Option<Vec<ListedFile>>, LsmError> {
        let listing = self.open_directory()?.map(|directory| directory.list()).transpose()?;
        Ok(listing.map(|listing| listing.files))
    }

    /// Opens the bucket's directory; `None` if there is none.
    pub(crate) fn open_directory(&self) -> Result<Option<OpenBucket<'_>>, LsmError> {
        match self.root.open_dir(self.path()) {
            Ok(directory) => Ok(Some(OpenBucket { bucket: self, directory })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unlisted(error)),
        }
    }

    fn unlisted(&self, error: io::Error) -> LsmError {
        let entry = self.path();
        let source = explain(error, &self.root, "", &entry);
        LsmError::List { entry, source }
    }

    /// The error of opening or examining the bucket's file `name`.
    fn unreadable(&self, name: &str, error: io::Error) -> LsmError {
        let source = explain(error, &self.root, "", &format!("{}/{name}", self.path()));
        LsmError::Read { place: self.place(name), offset: None, source }
    }

    /// The shard's version as in its file, if that can be read (`data-directory.md` 3).
    pub(crate) fn shard_version(&self) -> Option<u16> {
        let path = self.layout.version_path(&self.class_directory, &self.shard);
        let (file, _) = open_file(&self.root, &path).ok()?;
        let mut version = [0; 2];
        file.read_exact_at(&mut version, 0).ok()?;
        Some(u16::from_le_bytes(version))
    }

    /// The content of the shard's counter of document ids, or `None` if there is no counter
    /// (`data-directory.md` 3).
    pub(crate) fn counter(&self) -> Result<Option<Counter>, LsmError> {
        let path = self.counter_path();
        let name = path.rsplit('/').next().unwrap_or(&path);
        let unreadable = |error| {
            let source = explain(error, &self.root, "", &path);
            LsmError::Read { place: self.place(name), offset: None, source }
        };
        let (file, metadata) = match open_file(&self.root, &path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        };
        let content = match metadata.len() {
            // A pipe or a device has no length either.
            _ if !metadata.is_file() => Err(io::Error::other("it is not a file")),
            0 => Ok(Ok(0)),
            bytes @ 1..8 => Ok(Err(bytes)),
            _ => {
                let mut count = [0; 8];
                file.read_exact_at(&mut count, 0).map(|()| Ok(u64::from_le_bytes(count)))
            }
        };
        let count = content.map_err(unreadable)?;
        Ok(Some(Counter { count, changed: metadata.modified().map_err(unreadable)? }))
    }

    /// Whether the shard's counter says, or may say, that objects were written.
    ///
    /// # Errors
    /// When there is a counter and it cannot be read.
    pub fn counts_objects(&self) -> Result<bool, LsmError> {
        Ok(self.counter()?.is_some_and(|counter| counter.count != Ok(0)))
    }

    /// When the entries of a directory changed last; `None` if there is no such directory.
    pub(crate) fn directory_changed(&self, path: &str) -> Result<Option<SystemTime>, LsmError> {
        let failed = |error| {
            let source = explain(error, &self.root, "", path);
            LsmError::List { entry: path.to_owned(), source }
        };
        match self.root.metadata(path) {
            Ok(metadata) => Ok(Some(metadata.modified().map_err(failed)?.into_std())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.root.symlink_metadata(path) {
                    // A link to nothing.
                    Ok(_) => Err(failed(error)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The folders of the shard from the top down, relative to the data directory.
    pub(crate) fn folders(&self) -> Vec<String> {
        self.layout.folders(&self.class_directory, &self.shard)
    }

    /// The file that counts document ids, relative to the data directory.
    pub(crate) fn counter_path(&self) -> String {
        self.layout.counter_path(&self.class_directory, &self.shard)
    }

    /// Opens a listed file for reading.
    ///
    /// # Errors
    /// [`LsmError::Changed`] when it is no longer the one that was listed.
    pub fn open(&self, listed: &ListedFile) -> Result<BucketFile, LsmError> {
        let place = self.place(&listed.name);
        let path = format!("{}/{}", self.path(), listed.name);
        let (file, metadata) = match open_file(&self.root, &path) {
            Ok(opened) => opened,
            Err(error) => return Err(self.unreadable(&listed.name, error)),
        };
        // A log may have grown; the listed part of it is still there.
        if !metadata.is_file() || metadata.ino() != listed.inode || metadata.len() < listed.bytes {
            return Err(LsmError::Changed { place });
        }
        Ok(BucketFile::new(file, &metadata, place, listed.bytes))
    }
}

/// The content of a shard's counter of document ids.
#[derive(Debug)]
pub(crate) struct Counter {
    /// The ids that were given, or the length of a counter that is cut.
    pub count: Result<u64, u64>,
    /// When an id was given last.
    pub changed: SystemTime,
}

fn open_file(directory: &Dir, path: &str) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    // A pipe in place of a file must not block the export.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = directory.open_with(path, &options)?.into_std();
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// What has a name of a bucket.
enum Found {
    /// A file, or a link to one.
    File { bytes: u64, inode: u64 },
    /// Something else, in words.
    Other(&'static str),
}

/// A bucket whose directory is open, so that a file opens without its whole path.
#[derive(Debug)]
pub(crate) struct OpenBucket<'a> {
    bucket: &'a Bucket,
    directory: Dir,
}

/// The regular files of a bucket.
#[derive(Debug)]
pub(crate) struct Listing {
    pub files: Vec<ListedFile>,
    /// Whether a name was gone when it was looked at. Its data may be under a name that came after the
    /// names were read, so that two such listings agree on less than the bucket holds.
    pub changed: bool,
}

impl OpenBucket<'_> {
    /// The bucket's regular files: the names of one moment, each looked at a little later.
    pub fn list(&self) -> Result<Listing, LsmError> {
        let failed = |error| self.bucket.unlisted(error);
        let mut listing = Listing { files: Vec::new(), changed: false };
        let entries = match self.directory.entries() {
            Ok(entries) => entries,
            // The shard was dropped, and its directory removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
                Err(error) => return Err(failed(error)),
            };
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    let name = name.to_string_lossy();
                    if leftovers::ends_like_data(&name) {
                        return Err(LsmError::NotUtf8 { place: self.bucket.place(&name) });
                    }
                    continue;
                }
            };
            let may_hold_data = leftovers::may_hold_data(&name);
            let found = match self.examine(&entry, &name) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    listing.changed = true;
                    continue;
                }
                Err(error) if may_hold_data => return Err(self.bucket.unreadable(&name, error)),
                // Nobody reads it.
                Err(_) => continue,
            };
            match found {
                Found::File { bytes, inode } => {
                    listing.files.push(ListedFile { name, bytes, inode });
                }
                Found::Other(found) if may_hold_data => {
                    return Err(LsmError::NotAFile { place: self.bucket.place(&name), found });
                }
                Found::Other(_) => {}
            }
        }
        Ok(listing)
    }

    /// What has this name; `None` if it was removed since the directory was read, so that it is not
    /// part of this listing.
    fn examine(&self, entry: &DirEntry, name: &str) -> io::Result<Option<Found>> {
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let mut metadata = match entry.metadata() {
            Err(error) if gone(&error) => return Ok(None),
            metadata => metadata?,
        };
        if metadata.is_symlink() {
            metadata = match self.bucket.root.metadata(format!("{}/{name}", self.bucket.path())) {
                Err(error) if gone(&error) => return Ok(Some(Found::Other("a link to nothing"))),
                metadata => metadata?,
            };
        }
        let kind = metadata.file_type();
        Ok(Some(if kind.is_file() {
            Found::File { bytes: metadata.len(), inode: metadata.ino() }
        } else if kind.is_dir() {
            Found::Other("a directory")
        } else if kind.is_fifo() {
            Found::Other("a pipe")
        } else if kind.is_socket() {
            Found::Other("a socket")
        } else {
            Found::Other("a device")
        }))
    }

    /// Opens a listed file with its current length; `None` if it is no longer the one that was
    /// listed.
    pub fn open(&self, listed: &ListedFile) -> Result<Option<BucketFile>, LsmError> {
        let opened = open_file(&self.directory, &listed.name).or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return Err(error);
            }
            // A link may point to another part of the data directory, which only the root reaches.
            open_file(&self.bucket.root, &format!("{}/{}", self.bucket.path(), listed.name))
        });
        let place = self.bucket.place(&listed.name);
        let (file, metadata) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.bucket.unreadable(&listed.name, error)),
        };
        if !metadata.is_file() || metadata.ino() != listed.inode || metadata.len() < listed.bytes {
            return Ok(None);
        }
        Ok(Some(BucketFile::new(file, &metadata, place, metadata.len())))
    }
}

/// A file of a bucket, open or in memory.
#[derive(Debug)]
pub struct BucketFile {
    content: Content,
    /// Its place, for messages.
    pub place: Place,
    /// Length when it was opened or listed; nothing after that is read.
    pub bytes: u64,
    /// Its inode: another file under the same name has another one.
    pub(crate) inode: u64,
    /// When it was written last, by the file system's clock.
    pub(crate) modified_at: SystemTime,
}

#[derive(Debug)]
enum Content {
    File(OpenFile),
    Memory(Box<[u8]>),
}

/// How far the system reads ahead of a reader that goes forward.
const READ_AHEAD_BYTES: u64 = 256 * 1024;

/// An open file, whose pages leave the page cache with it.
#[derive(Debug)]
struct OpenFile {
    file: File,
    uncached: UncachedPart,
}

impl OpenFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        self.uncached.was_read(&self.file, buffer.len() as u64);
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.uncached.close(&self.file);
    }
}

impl BucketFile {
    fn new(file: File, metadata: &Metadata, place: Place, bytes: u64) -> BucketFile {
        // File systems without such times have the same one for every file.
        let modified_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let inode = metadata.ino();
        let uncached = UncachedPart::of(&file, bytes);
        let content = Content::File(OpenFile { file, uncached });
        BucketFile { content, place, bytes, inode, modified_at }
    }

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`LsmError::Changed`] when the file ends before, [`LsmError::Read`].
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LsmError> {
        let read = match &self.content {
            Content::File(file) => file.read_exact_at(buffer, offset),
            Content::Memory(bytes) => read_memory(bytes, buffer, offset),
        };
        read.map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                LsmError::Changed { place: self.place.clone() }
            } else {
                LsmError::Read { place: self.place.clone(), offset: Some(offset), source }
            }
        })
    }

    /// A reader that goes forward from `begin` to `end` has come to `position`: the system may begin to read
    /// what comes next. Of a reader that has hardly begun nobody knows whether it goes on.
    pub(crate) fn goes_on(&self, begin: u64, position: u64, end: u64) {
        let Content::File(OpenFile { file, uncached }) = &self.content else { return };
        if position.saturating_sub(begin) >= READ_AHEAD_BYTES {
            let ahead = position.saturating_add(READ_AHEAD_BYTES).min(end);
            uncached.will_be_read(file, position..ahead);
        }
    }

    /// Reads the whole file and closes it: for small files, of which there may be many.
    pub(crate) fn into_memory(self) -> Result<BucketFile, LsmError> {
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(BucketFile { content: Content::Memory(bytes.into()), ..self })
    }
}

fn read_memory(bytes: &[u8], buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let start = usize::try_from(offset).ok();
    let range = start.and_then(|start| Some(start..start.checked_add(buffer.len())?));
    match range.and_then(|range| bytes.get(range)) {
        Some(bytes) => buffer.copy_from_slice(bytes),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(())
}
