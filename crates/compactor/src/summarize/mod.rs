//! Summaries of what does not survive verbatim: leaves of segments, merged by topic, level by level
//! ([`tree`]). A summary is a list of [`Point`]s: sentences of the source, or generated ones that
//! passed [`grounding`] and have their [`support`].

pub(crate) mod abstractive;
pub(crate) mod breadth;
pub(crate) mod extractive;
pub(crate) mod facts;
pub(crate) mod grounding;
pub(crate) mod structure;
pub(crate) mod support;
pub(crate) mod tree;

use std::ops::{AddAssign, Range};

use epitome_engine::{ModelError, Models};
use epitome_text::Document;
use epitome_work::{Cancel, Stopped};
use thiserror::Error;

use crate::{
    cache::Cache,
    rank::Ranking,
    remote::RemoteError,
    render::{TemplateError, Templates},
};

/// Why a summary could not be made.
#[derive(Debug, Error)]
pub enum SummarizeError {
    /// The decoder could not be had or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The server that writes could not be used.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A summary prompt could not be filled.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// One statement of a summary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Point {
    /// A span of the document, verbatim.
    Span(usize),
    /// A generated sentence, and what it is made of.
    Text {
        /// The sentence.
        text: String,
        /// The bytes of the stretch that it stands for.
        source: Range<usize>,
        /// The bytes of the one to three sentences that support it.
        cites: Vec<Range<usize>>,
        /// Tokens.
        tokens: usize,
    },
}

/// What a summarizer works on and with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The document.
    pub doc: &'a Document<'a>,
    /// Its scores and vectors.
    pub ranking: &'a Ranking,
    /// Prompts.
    pub templates: &'a Templates,
    /// The decoder.
    pub models: &'a Models,
    /// Segment cache.
    pub cache: &'a Cache,
    /// Counts tokens of generated text.
    pub counter: &'a dyn epitome_text::tokens::TokenCounter,
    /// Checked between generations.
    pub cancel: &'a Cancel,
}

impl Context<'_> {
    /// Tokens of a point.
    pub(crate) fn tokens(&self, point: &Point) -> usize {
        match point {
            Point::Span(span) => self.doc.spans[*span].tokens,
            Point::Text { tokens, .. } => *tokens,
        }
    }
}

/// A summary and what was refused on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    /// Its statements, in the order of the source.
    pub points: Vec<Point>,
    /// Generated sentences that held something their source does not, or that no sentence of it supports.
    pub ungrounded: usize,
    /// What of the tree below it, with itself, was generated.
    pub nodes: Nodes,
}

/// Nodes of a tree that a model wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    /// All.
    pub all: usize,
    /// Those of them that the cache did not have.
    pub new: usize,
}

impl Nodes {
    /// One, from the cache or not.
    pub(crate) fn one(new: bool) -> Self {
        Self { all: 1, new: usize::from(new) }
    }
}

impl AddAssign for Nodes {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.new += other.new;
    }
}

/// Makes summaries of segments and merges them.
pub(crate) trait Summarizer: Send + Sync {
    /// How many summaries it can be asked for at once: as many as there are cores, unless it waits for
    /// an engine that batches.
    fn at_once(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// The summary of a segment in at most `budget` tokens.
    fn leaf(&self, context: &Context<'_>, segment: usize, budget: usize) -> Result<Summary, SummarizeError>;

    /// One summary for consecutive ones, in at most `budget` tokens. `segments` are those that they
    /// stand for; `level` is 1 for a merge of leaves.
    fn merge(
        &self,
        context: &Context<'_>,
        level: usize,
        children: &[Summary],
        segments: &[usize],
        budget: usize,
    ) -> Result<Summary, SummarizeError>;
}
