//! The threads that run what is asynchronous here, whatever runtime a test has or lacks.

use std::sync::{OnceLock, mpsc};

use tokio::runtime::{Builder, Runtime};

/// The runtime of this crate. It is never dropped, so a test may end inside a runtime of its own.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("test-parts")
            .enable_all()
            .build()
            .expect("a runtime for the test parts")
    })
}

/// Blocks until `future` has run on this crate's runtime; a panic in it is a panic here.
pub fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = mpsc::sync_channel(1);
    runtime().spawn(async move { tell.send(future.await) });
    told.recv().expect("a test part panicked, see above")
}
