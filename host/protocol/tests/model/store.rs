//! A store in memory whose requests wait for their turn, may lose their replies, and may arrive after
//! their process has died: what a real store does, but never when a test asks for it.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use offloom_protocol::store::uploads::{ListedUpload, UploadStore};
use tokio::sync::oneshot;

/// What becomes of a request that has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is carried out and answered.
    Answered,
    /// It is carried out, and its reply is lost.
    ReplyLost,
    /// It is carried out although its process has died.
    Late,
}

/// A request that waits for its turn.
pub struct Waiting {
    /// The process that sent it.
    pub process: usize,
    /// Whether it changes the store.
    pub writes: bool,
    /// Whether its process has died.
    pub late: bool,
    turn: oneshot::Sender<Turn>,
}

/// An upload that was begun.
#[derive(Debug, Clone)]
struct Open {
    path: Path,
    parts: BTreeMap<usize, Vec<u8>>,
    /// The request that began it, counted from 0.
    begun_at: usize,
}

/// The bucket, shared by all processes.
#[derive(Default)]
pub struct Bucket {
    pub objects: InMemory,
    uploads: Mutex<BTreeMap<String, Open>>,
    waiting: Mutex<Vec<Waiting>>,
    requests: Mutex<usize>,
    /// A planted bug: the manifest is written without its condition.
    unconditional_commits: bool,
}

impl Bucket {
    /// An empty one.
    pub fn new(unconditional_commits: bool) -> Bucket {
        Bucket { unconditional_commits, ..Bucket::default() }
    }

    /// Removes one of the waiting requests for which `may` holds, chosen by `choose` among all of them.
    pub fn next(
        &self,
        may: impl Fn(&Waiting) -> bool,
        choose: impl FnOnce(usize) -> usize,
    ) -> Option<Waiting> {
        let mut waiting = self.waiting.lock().unwrap();
        // Their sender has given up, such as that of the parts beside one that failed.
        waiting.retain(|request| !request.turn.is_closed());
        let allowed: Vec<usize> = (0..waiting.len()).filter(|at| may(&waiting[*at])).collect();
        (!allowed.is_empty()).then(|| waiting.remove(allowed[choose(allowed.len())]))
    }

    /// Whether this process has a request that waits.
    pub fn has_waiting(&self, process: usize) -> bool {
        let waiting = self.waiting.lock().unwrap();
        waiting.iter().any(|request| request.process == process && !request.turn.is_closed())
    }

    /// A process dies: each of its requests is on its way, as `is_late` says, or never sent.
    pub fn die(&self, process: usize, mut is_late: impl FnMut() -> bool) {
        let mut waiting = self.waiting.lock().unwrap();
        for request in waiting.iter_mut().filter(|request| request.process == process) {
            request.late = request.writes && is_late();
        }
        waiting.retain(|request| request.process != process || request.late);
    }

    /// Requests that had their turn.
    pub fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }

    /// Uploads below the prefix that were begun before this request and are still open.
    pub fn open_since_before(&self, request: usize) -> Vec<String> {
        let uploads = self.uploads.lock().unwrap();
        let old = uploads.values().filter(|open| open.begun_at < request);
        old.map(|open| open.path.to_string()).collect()
    }
}

impl Waiting {
    /// Lets the request be carried out.
    pub fn go(self, turn: Turn) {
        // Its process may have died just now.
        let _ = self.turn.send(turn);
    }
}

/// The bucket as one process reaches it.
#[derive(Clone)]
pub struct Connection {
    pub bucket: Arc<Bucket>,
    pub process: usize,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection({})", self.process)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection({})", self.process)
    }
}

/// As the client words a reply that does not come.
fn lost() -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "timed out");
    Error::Generic { store: "Model", source: source.into() }
}

impl Connection {
    /// Waits for the turn of a request, carries it out, and answers.
    async fn request<T: Send>(
        &self,
        writes: bool,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let (turn, given) = oneshot::channel();
        let process = self.process;
        self.bucket.waiting.lock().unwrap().push(Waiting { process, writes, late: false, turn });
        // Without a turn the process has died.
        let Ok(turn) = given.await else { return std::future::pending().await };
        *self.bucket.requests.lock().unwrap() += 1;
        let done = work.await;
        match turn {
            Turn::Answered => done,
            Turn::ReplyLost => Err(lost()),
            Turn::Late => std::future::pending().await,
        }
    }

    fn not_found(id: &str) -> Error {
        Error::NotFound { path: id.to_owned(), source: "NoSuchUpload".into() }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Connection {
    async fn put_opts(
        &self,
        path: &Path,
        content: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if self.bucket.unconditional_commits && path.as_ref().ends_with("export_metadata.json") {
            options.mode = PutMode::Overwrite;
        }
        self.request(true, self.bucket.objects.put_opts(path, content, options)).await
    }

    async fn put_multipart_opts(
        &self,
        _path: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("uploads have ids")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.request(false, self.bucket.objects.get_opts(path, options)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let connection = self.clone();
        let delete = move |path: Result<Path>| {
            let connection = connection.clone();
            async move {
                let path = path?;
                let deleted =
                    connection.request(true, connection.bucket.objects.delete(&path)).await;
                deleted.map(|()| path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.bucket.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bucket.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bucket.objects.copy_opts(from, to, options).await
    }
}

#[async_trait::async_trait]
impl UploadStore for Connection {
    async fn begin(&self, path: &Path) -> Result<MultipartId> {
        self.request(true, async {
            let begun_at = self.bucket.requests();
            let mut uploads = self.bucket.uploads.lock().unwrap();
            let id = format!("{}-{begun_at}", self.process);
            uploads
                .insert(id.clone(), Open { path: path.clone(), parts: BTreeMap::new(), begun_at });
            Ok(id)
        })
        .await
    }

    async fn put_part(
        &self,
        _path: &Path,
        id: &MultipartId,
        number: usize,
        payload: PutPayload,
    ) -> Result<PartId> {
        self.request(true, async {
            let mut uploads = self.bucket.uploads.lock().unwrap();
            let open = uploads.get_mut(id).ok_or_else(|| Connection::not_found(id))?;
            let bytes: Vec<u8> = payload.iter().flat_map(|piece| piece.to_vec()).collect();
            let content_id = hex::encode(&bytes);
            open.parts.insert(number, bytes);
            Ok(PartId { content_id })
        })
        .await
    }

    async fn complete(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<()> {
        self.request(true, async {
            let content = {
                let mut uploads = self.bucket.uploads.lock().unwrap();
                let open = uploads.get(id).ok_or_else(|| Connection::not_found(id))?;
                let mut content = Vec::new();
                for (number, part) in parts.iter().enumerate() {
                    let stored = open.parts.get(&number);
                    // As S3: each ETag must be that of the part.
                    match stored.filter(|bytes| hex::encode(bytes) == part.content_id) {
                        Some(bytes) => content.extend_from_slice(bytes),
                        None => {
                            let source = format!("InvalidPart {number}").into();
                            return Err(Error::Generic { store: "Model", source });
                        }
                    }
                }
                uploads.remove(id);
                content
            };
            self.bucket.objects.put(path, content.into()).await.map(drop)
        })
        .await
    }

    async fn abort(&self, _path: &Path, id: &MultipartId) -> Result<()> {
        self.request(true, async {
            let mut uploads = self.bucket.uploads.lock().unwrap();
            uploads.remove(id).map(drop).ok_or_else(|| Connection::not_found(id))
        })
        .await
    }

    async fn list(&self, prefix: &Path) -> Result<Option<Vec<ListedUpload>>> {
        self.request(false, async {
            let uploads = self.bucket.uploads.lock().unwrap();
            let below = uploads.iter().filter(|(_, open)| open.path.prefix_matches(prefix));
            let listed = below
                .map(|(id, open)| ListedUpload { path: open.path.clone(), upload_id: id.clone() });
            Ok(Some(listed.collect()))
        })
        .await
    }
}
