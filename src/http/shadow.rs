//! Shadow requests: the effect of compaction on the answers to real traffic.
//!
//! A share of the compacted requests (`shadow.sample`) is answered both ways. The client gets its answer
//! without delay; its chunks are recorded as they pass. When it is complete, the original request goes to the
//! same upstream in the background, with the client's own headers and thus at the client's expense, and the
//! two answers are compared. A hash of the request's id and bytes decides which requests are sampled.
//!
//! Requests that may have side effects are never sent twice: those that offer tools or functions, ask the
//! upstream to store something (in Responses: do not forbid it) or to search the web, or ask for several
//! choices or for audio. Prompts and answers are not logged.
//!
//! If the mean agreement over the last samples of a dialect falls below `shadow.floor`, its requests pass
//! unchanged, with the reason `shadow-floor`, until `shadow.cooldown_s` is over. Answers sampled at a
//! temperature above 0 differ even without compaction: derive the floor from the metrics, not from an ideal.

mod drawn;
mod ledger;
mod sample;

pub use drawn::Shadow;
pub use ledger::{Change, Comparison, Ledger, Means};
pub use sample::Sample;
