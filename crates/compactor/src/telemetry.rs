//! The metrics of compaction, recorded by whichever recorder the program installs.

use std::time::Duration;

use metrics::{counter, histogram};

/// Texts that passed because a result filled less than half of its budget.
pub const UNDERFILLED: &str = "epitome_underfilled_total";
/// Calls of models on other servers; by `role` and `result`.
pub const REMOTE_CALLS: &str = "epitome_remote_calls_total";
/// Seconds of a call, its further attempts with it; by `role`.
pub const REMOTE_TIME: &str = "epitome_remote_call_seconds";

/// A result filled less than half of its budget although needed spans were left out; the text passed.
pub(crate) fn underfilled() {
    counter!(UNDERFILLED).increment(1);
}

/// A model on another server was called.
pub(crate) fn remote_call(role: &'static str, good: bool, time: Duration) {
    let result = if good { "ok" } else { "failed" };
    counter!(REMOTE_CALLS, "role" => role, "result" => result).increment(1);
    histogram!(REMOTE_TIME, "role" => role).record(time);
}
