//! Finds spans, blocks and segments in a text of any kind, without changing a byte.
//!
//! A [`Document`] is the input as spans (sentences and other smallest units), blocks (paragraphs, tables, functions and
//! the like) and segments (1,000-2,000 tokens, cut on semantic borders). All are byte ranges of the untouched text, and
//! spans tile it. How a text is cut depends on its [`Kind`]: prose, code, JSON, logs, tables, diffs, chats and others.
//!
//! ```
//! use epitome_text::{Document, Hint, Kind, SegmentSize, kinds, tokens};
//! use epitome_work::Cancel;
//!
//! # fn main() -> Result<(), epitome_work::Stopped> {
//! let text = "id,name\n1,Ada\n2,Chidi\n3,Grace\n4,Edsger\n5,Barbara\n6,Alan\n";
//! let (kind, blocks) = kinds::cut(text, Hint::default());
//! assert_eq!(kind, Kind::Table);
//!
//! let size = SegmentSize { min: 1000, max: 2000 };
//! let document = Document::cut(text, kind, blocks, &tokens::Bytes, size, &Cancel::never())?;
//! assert_eq!(document.spans.len(), 7);
//! assert_eq!(document.span_text(1), "1,Ada");
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod blocks;
mod breaks;
pub mod cut;
mod document;
mod json;
pub mod kinds;
pub mod language;
pub mod lines;
mod long;
mod numbered;
mod prose;
mod scripts;
mod segments;
pub mod sentences;
mod spans;
pub mod terms;
pub mod tokens;

pub use cut::{Content, Hint, Role};
pub use document::{Document, Origin};
pub use json::value_end as json_value_end;
pub use kinds::{Kind, without_line_numbers};
pub use prose::prose;
pub use sentences::sentence_ends;
pub use spans::{Block, Heading, Segment, SegmentSize, Span};
