//! Sources from which model files are fetched.
//!
//! A source that fails says why in one line; the store gathers these lines into one error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub(super) mod hub;
pub(super) mod pip;

/// A bar that counts bytes, on standard error.
fn bar(total: u64, message: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(message)
}

/// A sign of life where the amount of work is not known, on standard error.
pub(super) fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
