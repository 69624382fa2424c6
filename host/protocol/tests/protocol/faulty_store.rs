//! A store in memory that fails on demand: the faults of a network store in mid-upload, which
//! neither a file system nor a healthy server will produce when a test asks for them.
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The part of this number (from 0): the disk is full.
    Part(usize),
    /// Completing a multipart upload.
    Complete,
    /// A PUT, which writes nothing.
    Put,
    /// The answer to a PUT, which has written.
    PutReply,
    /// The first PUT meets another that then fails: a conflict, and nothing is there.
    Conflict,
    /// A PUT that must only create replaces too.
    NoConditions,
    /// Nothing, but every part takes 50 ms.
    Slow,
    /// The first part and the first two aborts: the store is overloaded.
    Overloaded,
}

#[derive(Debug, Default)]
struct Seen {
    puts: AtomicUsize,
    begun: AtomicUsize,
    aborted: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    part_sizes: Mutex<Vec<usize>>,
}

/// An [`InMemory`] with one fault.
#[derive(Debug)]
pub struct FaultyStore {
    inner: InMemory,
    fault: Fault,
    seen: Arc<Seen>,
}

fn fault(kind: io::ErrorKind, text: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "FaultyStore",
        source: Box::new(io::Error::new(kind, text.to_owned())),
    }
}

/// As the client words an answer of S3.
fn overloaded() -> object_store::Error {
    let text = "Server returned non-2xx status code: 503 Service Unavailable: <Error>\
                <Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    object_store::Error::Generic { store: "FaultyStore", source: text.into() }
}

impl FaultyStore {
    pub fn new(fault: Fault) -> FaultyStore {
        FaultyStore { inner: InMemory::new(), fault, seen: Arc::default() }
    }

    /// The store behind the faults.
    pub fn inner(&self) -> &InMemory {
        &self.inner
    }

    /// Multipart uploads begun, and aborted.
    pub fn counts(&self) -> (usize, usize) {
        (self.seen.begun.load(Ordering::SeqCst), self.seen.aborted.load(Ordering::SeqCst))
    }

    /// The sizes of the parts, in their order.
    pub fn part_sizes(&self) -> Vec<usize> {
        self.seen.part_sizes.lock().unwrap().clone()
    }

    /// The largest number of parts that were under way together.
    pub fn most_parts_at_once(&self) -> usize {
        self.seen.most_under_way.load(Ordering::SeqCst)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?})", self.fault)
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    fault: Fault,
    seen: Arc<Seen>,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = {
            let mut sizes = self.seen.part_sizes.lock().unwrap();
            sizes.push(data.content_length());
            sizes.len() - 1
        };
        if self.fault == Fault::Overloaded {
            return futures::future::ready(Err(overloaded())).boxed();
        }
        if self.fault == Fault::Part(number) {
            return futures::future::ready(Err(fault(
                io::ErrorKind::StorageFull,
                "No space left on device",
            )))
            .boxed();
        }
        let part = self.inner.put_part(data);
        let (seen, slow) = (self.seen.clone(), self.fault == Fault::Slow);
        async move {
            let now = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most_under_way.fetch_max(now, Ordering::SeqCst);
            if slow {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let result = part.await;
            seen.under_way.fetch_sub(1, Ordering::SeqCst);
            result
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.fault == Fault::Complete {
            return Err(fault(io::ErrorKind::ConnectionReset, "connection reset"));
        }
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        let aborted = self.seen.aborted.fetch_add(1, Ordering::SeqCst);
        if self.fault == Fault::Overloaded && aborted < 2 {
            return Err(overloaded());
        }
        self.inner.abort().await
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, content: PutPayload, o: PutOptions) -> Result<PutResult> {
        if self.fault == Fault::Put {
            return Err(fault(io::ErrorKind::TimedOut, "timed out"));
        }
        if self.fault == Fault::Conflict && self.seen.puts.fetch_add(1, Ordering::SeqCst) == 0 {
            let source = "conflict".into();
            return Err(object_store::Error::AlreadyExists { path: path.to_string(), source });
        }
        let o = if self.fault == Fault::NoConditions { PutOptions::default() } else { o };
        let put = self.inner.put_opts(path, content, o).await;
        if self.fault == Fault::PutReply {
            put?;
            return Err(fault(io::ErrorKind::TimedOut, "timed out"));
        }
        put
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.seen.begun.fetch_add(1, Ordering::SeqCst);
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(FaultyUpload { inner, fault: self.fault, seen: self.seen.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
