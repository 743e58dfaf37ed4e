//! The bill: what an answer cost, what it would have cost without epitome, and a record of both.
//!
//! ```text
//! bytes of an answer  -> reader    decoded and scanned as they pass; nothing is held back or kept
//!                     -> usage     tokens by price class
//! request, sent       -> prefix    how much of each was sent before
//! model name          -> prices    the price list, and the least prefix that the provider caches
//! all of these        -> statement what was paid, what the original would have cost, and the difference
//!                     -> journal   one line of JSON for each request, without any of its text
//! journal             -> summary   totals over a period, for `epitome bill`
//! ```
//!
//! Nothing here knows of HTTP. The proxy holds a [`ledger::Ledger`]: before a request is sent it asks what of the
//! prompt was sent before ([`ledger::Ledger::prompts`]), feeds a [`reader::UsageReader`] with the chunks of the
//! answer that it forwards, and at the end records an [`entry::Entry`] ([`ledger::Ledger::record`]).

pub mod decode;
mod events;
mod model;
mod price_file;
mod scan;

pub mod entry;
pub mod journal;
pub mod ledger;
pub mod log;
pub mod net;
pub mod prefix;
pub mod prices;
pub mod rates;
pub mod reader;
pub mod statement;
pub mod summary;
pub mod telemetry;
pub mod time;
pub mod usage;

pub use crate::wire::dialect::Dialect;
