//! Source code: whole files or parts of them, as read by agents' tools.

mod class;
mod cut;
mod detect;
mod language;
mod omission;
mod parse;
mod signals;
mod source;
mod split;
mod units;

pub use cut::cut;
pub use detect::detect;
pub use language::Language;
pub use omission::omission;
pub use source::file;
