//! Signals to stop: Ctrl-C, and what service managers send.

use std::{io, thread};

use epitome_work::Cancel;

use crate::{error::Error, exit::INTERRUPTED};

/// The first signal cancels, so that what is done is kept; the second ends the process.
///
/// # Errors
///
/// If signals cannot be heard.
pub(super) fn stop(cancel: &Cancel) -> Result<(), Error> {
    let cancel = cancel.clone();
    let failed = |error: io::Error| Error::Internal(format!("signals cannot be heard: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Before this returns: a signal that came earlier would end the process.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen().map_err(failed)?
    };
    thread::spawn(move || {
        runtime.block_on(async {
            signals.next().await;
            cancel.cancel();
            signals.next().await;
            std::process::exit(INTERRUPTED.into());
        });
    });
    Ok(())
}

/// Both signals to stop, from when this is made.
pub(super) struct Signals {
    #[cfg(unix)]
    term: tokio::signal::unix::Signal,
    #[cfg(unix)]
    int: tokio::signal::unix::Signal,
}

impl Signals {
    /// Within a runtime.
    ///
    /// # Errors
    ///
    /// What the system said.
    #[cfg(unix)]
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Within a runtime.
    ///
    /// # Errors
    ///
    /// None here.
    #[cfg(not(unix))]
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            tracing::error!("signals cannot be heard; stop the process by force");
            std::future::pending::<()>().await;
        }
    }
}
