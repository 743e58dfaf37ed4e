//! Makes a long text short for a question, and says what was kept.
//!
//! A [`Compactor`] finds the spans of a text, ranks them for a query, summarizes what does not survive, and places the
//! best within a [`Budget`]. The [`Compaction`] that it gives has the text, the byte range of the input behind every
//! piece of it, and figures.
//!
//! ```
//! use std::sync::Arc;
//!
//! use epitome_compactor::{Cache, Cancel, CompactRequest, Compactor, config::Config};
//! use epitome_engine::{Models, config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let models = Arc::new(Models::new(&config::Models::default())?);
//! let compactor = Compactor::new(Config::default(), models, Arc::new(Cache::disabled()))?;
//!
//! let houses = (1..60).map(|n| format!("House {n} burned down and was rebuilt in brick. ")).collect::<String>();
//! let request = CompactRequest::new(houses + "Ada Byrne built the bridge in 1871.", "25%".parse()?)
//!     .query("Who built the bridge?");
//! let compaction = compactor.compact(&request, &Cancel::never())?;
//! assert!(compaction.text.contains("Ada Byrne"));
//! assert!(compaction.figures.tokens_after < compaction.figures.tokens_before / 3);
//! for piece in &compaction.pieces {
//!     println!("[#{}] is bytes {:?} of the text", piece.reference, piece.source);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The flow
//!
//! ```text
//! text (epitome-text)   spans, blocks and segments over the untouched text
//!   -> rank             salience of each span for the query
//!   -> in a loop until it fits the budget:
//!      select           which units stay             (place)
//!      summarize        a tree of what does not
//!      arrange          head, body and tail          (place)
//!      render           template -> text, with the map back to source bytes
//! ```
//!
//! # The words
//!
//! * A **span** is a byte range of the input, usually a sentence: the unit of ranking and of provenance. Spans tile the
//!   input.
//! * A **block** is a paragraph, a list item, a table, a fenced code block and the like.
//! * A **segment** is 1,000-2,000 tokens that end on a semantic border: the unit of the cache and of summaries.
//! * **Salience** is the score of a span for this query; higher is more needed.
//! * A **unit** is a run of spans that is kept or left out as a whole.
//! * **Head** and **tail** are the first 500 and the last 200 tokens of the result; the **body** lies between, in the
//!   order of the source. A short result of running text is all body.
//! * A **piece** is a stretch of the result with the byte range of the input that it is.
//! * A **topic** is a stretch of the input about one thing, however long; the **outline** has a line for each.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod above;
mod budget;
pub mod cache;
pub mod client;
pub mod compaction;
pub mod config;
mod energy;
mod outline;
mod pipeline;
mod place;
mod rank;
mod remote;
mod render;
mod summarize;
pub mod telemetry;

pub use above::Above;
pub use budget::{Budget, BudgetError};
pub use cache::Cache;
pub use compaction::{CompactRequest, Compaction};
pub use energy::{Energy, EnergyMeter};
pub use epitome_work::{Cancel, Stopped};
pub use outline::{Topic, TopicKind};
pub use pipeline::{CompactError, Compactor};
pub use rank::{RankError, adapted::AdaptedError};
pub use remote::{Probe, RemoteError, probe};
pub use render::{TemplateError, Templates};

/// Stages by themselves, for benches, fuzz targets and the baselines of evaluation. Not part of the interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        place::Kept,
        rank::{
            Ranking, Tools,
            adapted::{Adapted, File, FittedFor, VERSION},
            agent::{Fit, features::columns},
            attention::watch,
            dense::{Embedding, cosine, embed, embed_query},
            lexical::rank as lexical,
            observed::Sentences,
            rank,
            relevance::{Model, counts},
            wholes::filler,
        },
        render::in_place::{held, render},
    };
}
