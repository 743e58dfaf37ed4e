//! Signals to stop: Ctrl-C, and what service managers send.

use std::thread;

use crate::{compaction::Cancel, error::Error, exit::INTERRUPTED};

/// The first signal cancels, so that what is done is kept; the second ends the process.
///
/// # Errors
///
/// If signals cannot be heard.
pub(super) fn stop(cancel: &Cancel) -> Result<(), Error> {
    let cancel = cancel.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(format!("signals cannot be heard: {error}")))?;
    thread::spawn(move || {
        runtime.block_on(async {
            heard().await;
            cancel.cancel();
            heard().await;
            std::process::exit(INTERRUPTED.into());
        });
    });
    Ok(())
}

/// Waits for a signal.
#[cfg(unix)]
pub(super) async fn heard() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; stop the process by force");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Waits for a signal.
#[cfg(not(unix))]
pub(super) async fn heard() {
    if tokio::signal::ctrl_c().await.is_err() {
        tracing::error!("signals cannot be heard; stop the process by force");
        std::future::pending::<()>().await;
    }
}
