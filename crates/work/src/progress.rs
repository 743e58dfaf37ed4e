//! Where long work reports how far it is, such as a download of model files.
//!
//! A library draws nothing. A program that has somewhere to show progress installs a [`Sink`] once, as with the facades
//! of `log` and `metrics`; without one, nothing is shown.

use std::sync::OnceLock;

/// Shows what is under way. One for the process, since there is one standard error.
pub trait Sink: Send + Sync {
    /// Work begins: of `bytes` bytes, or of an unknown amount.
    fn begin(&self, message: String, bytes: Option<u64>) -> Box<dyn Bar>;
}

/// One piece of work as it is shown. It goes away when it is dropped.
pub trait Bar: Send {
    /// The amount is known by now.
    fn set_length(&self, bytes: u64);

    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
}

static SINK: OnceLock<Box<dyn Sink>> = OnceLock::new();

/// Installs the sink. A second one is ignored.
pub fn install(sink: Box<dyn Sink>) {
    // The first one stays.
    let _ = SINK.set(sink);
}

/// Reports work of `bytes` bytes, or of an unknown amount.
pub fn begin(message: String, bytes: Option<u64>) -> Box<dyn Bar> {
    SINK.get().map_or_else(|| Box::new(Unseen) as Box<dyn Bar>, |sink| sink.begin(message, bytes))
}

struct Unseen;

impl Bar for Unseen {
    fn set_length(&self, _: u64) {}

    fn advance(&self, _: u64) {}
}
