//! Shadow requests: what compaction does to the answers of real traffic.
//!
//! A share of the compacted chat requests (`shadow.sample`) is answered both ways. The client gets its
//! answer as always, without waiting for anything: its chunks are noted as they pass. When it is
//! complete, the original request goes to the same upstream in the background, with the client's own
//! headers and so at the client's expense, and the two answers are compared. Which requests are drawn
//! is decided by a hash of the request's id and bytes.
//!
//! Never sent a second time is what may have an effect beside its answer: a request that offers tools
//! or functions, that asks the upstream to store something or to search the web, or that asks for
//! several choices or for sound. Prompts and answers are not logged.
//!
//! Where the mean agreement over the last samples falls under `shadow.floor`, the route's requests pass
//! untouched, with the reason `shadow-floor`, until `shadow.cooldown_s` is over. Answers drawn at a
//! temperature above 0 differ without any compaction: take the floor from what the metrics show, not
//! from an ideal.

mod drawn;
mod ledger;
mod sample;

pub use drawn::Shadow;
pub use ledger::{Change, Comparison, Ledger, Means};
pub use sample::Sample;
