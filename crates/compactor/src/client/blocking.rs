//! Calls for threads that wait.

use std::{future::Future, sync::OnceLock, thread, time::Duration};

use epitome_work::{Cancel, Stopped};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time,
};

use super::UpstreamError;

/// How often a wait looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(25);
/// Threads that move the bytes of all calls of the process.
const THREADS: usize = 2;

/// Runs calls for threads that wait, on one runtime for the whole process.
#[derive(Clone, Copy, Debug)]
pub struct Blocking(&'static Runtime);

impl Blocking {
    /// Starts the runtime on first use.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Client`] where the system gives no thread.
    pub fn new() -> Result<Self, UpstreamError> {
        static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
        let start = || {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(THREADS).thread_name("client").enable_all().build()
        };
        match RUNTIME.get_or_init(|| start().map_err(|error| error.to_string())) {
            Ok(runtime) => Ok(Self(runtime)),
            Err(error) => Err(UpstreamError::Client(format!("no thread for its calls: {error}"))),
        }
    }

    /// Waits for `call`, until `cancel` says stop. The caller may be a thread of another runtime.
    ///
    /// # Errors
    ///
    /// [`Stopped`]; the call is dropped then.
    pub fn wait<T: Send>(self, cancel: &Cancel, call: impl Future<Output = T> + Send) -> Result<T, Stopped> {
        cancel.check()?;
        let run = || {
            self.0.block_on(async {
                tokio::select! {
                    output = call => Ok(output),
                    stopped = stopped(cancel) => Err(stopped),
                }
            })
        };
        if Handle::try_current().is_err() {
            return run();
        }
        // A runtime refuses to block its own threads.
        let span = tracing::Span::current();
        let joined = thread::scope(|scope| scope.spawn(|| span.in_scope(run)).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

async fn stopped(cancel: &Cancel) -> Stopped {
    loop {
        if let Err(stopped) = cancel.check() {
            return stopped;
        }
        time::sleep(LOOK).await;
    }
}
