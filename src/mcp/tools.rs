//! The work of the tools.

use std::sync::Arc;

use epitome_compactor::{
    Budget, CompactError, CompactRequest, Compaction,
    compaction::{Figures, Outcome, PassReason},
};
use epitome_work::Cancel;
use serde_json::{Value, json};
use thiserror::Error;

use super::{
    arguments::{self, Object},
    explain,
};
use crate::{
    originals::{Id, IdError, Originals, RangeError, marker},
    rewrite::{
        pipeline::Compact,
        retrieve::{Part, Unknown, retrieve},
    },
};

/// What a tool says to a model, and what a program may want to know of it.
pub(super) struct Said {
    pub(super) words: String,
    pub(super) data: Value,
    /// Whether the words are the data, written out. Agents show a model the data of a result in place of its words,
    /// where there is data: a text would come as JSON.
    pub(super) is_data: bool,
}

/// Why a tool has nothing to say.
#[derive(Debug, Error)]
pub(super) enum ToolError {
    /// There is no such tool.
    #[error("there is no tool {0:?}; there are compact, retrieve and explain")]
    Unknown(String),
    /// The models are not loaded.
    #[error("the models are not ready, so nothing can be compacted; try again in a few seconds")]
    NotReady,
    /// No place became free in time.
    #[error("all places for compactions are taken (serve.max_concurrent); try again in a second")]
    Busy,
    /// The arguments are not those of the tool.
    #[error("the arguments cannot be used: {0}")]
    Arguments(String),
    /// The id is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The range is none.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The original is not kept.
    #[error(transparent)]
    Original(#[from] Unknown),
    /// The text could not be compacted.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The result could not be written.
    #[error("the result could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// The tools on one pipeline.
#[derive(Clone)]
pub struct Tools {
    pipeline: Arc<dyn Compact>,
    budget: Budget,
}

impl Tools {
    /// Tools that compact with `pipeline`, by default to `budget`.
    pub fn new(pipeline: Arc<dyn Compact>, budget: Budget) -> Self {
        Self { pipeline, budget }
    }

    /// Calls a tool. Blocks.
    pub(super) fn call(&self, name: &str, arguments: Object, cancel: &Cancel) -> Result<Said, ToolError> {
        let bad = ToolError::Arguments;
        match name {
            "compact" => self.compact(arguments::read(arguments).map_err(bad)?, cancel),
            "retrieve" => self.retrieve(arguments::read(arguments).map_err(bad)?, cancel),
            "explain" => self.explain(arguments::read(arguments).map_err(bad)?, cancel),
            other => Err(ToolError::Unknown(other.chars().take(64).collect())),
        }
    }

    fn compact(&self, asked: arguments::Compact, cancel: &Cancel) -> Result<Said, ToolError> {
        // The marker has its place in the budget.
        let room = match asked.budget.unwrap_or(self.budget) {
            Budget::Tokens(tokens) if self.originals().is_some() => {
                let reserve = marker::reserve(self.pipeline.counter(None).as_ref());
                Budget::Tokens(tokens.saturating_sub(reserve).max(tokens.div_ceil(2)))
            }
            budget => budget,
        };
        let request = self.request(asked.text, asked.query, Some(room), false);
        let compaction = self.pipeline.compact(&request, cancel)?;
        let id = match compaction.outcome {
            Outcome::Compacted => self.originals().and_then(|originals| originals.keep(&request.text)),
            Outcome::Passed(_) => None,
        };
        let Figures { tokens_before: before, tokens_after: after, ref kind, .. } = compaction.figures;
        let mark = id.as_ref().and_then(|id| marker::of_rest(&compaction.text, kind, after, before, id));
        let mark = mark.unwrap_or_default();
        // What the marker takes is paid for as well.
        let after = after + self.pipeline.counter(None).count(&mark);
        if compaction.outcome == Outcome::Compacted && after >= before {
            let passed = Compaction {
                outcome: Outcome::Passed(PassReason::NotShorter),
                text: request.text,
                figures: Figures { ratio: 1.0, retention: None, ..compaction.figures },
                ..compaction
            };
            return Ok(said(&passed, None, "", before));
        }
        Ok(said(&compaction, id.as_ref(), &mark, after))
    }

    fn retrieve(&self, asked: arguments::Retrieve, cancel: &Cancel) -> Result<Said, ToolError> {
        let arguments::Retrieve { hash, id, lines, bytes, query, budget } = asked;
        let id: Id = match arguments::named(hash, id).map_err(ToolError::Arguments)? {
            Some(named) => named.parse()?,
            None => return Err(ToolError::Arguments("give the `hash` of a text".to_owned())),
        };
        let part = match (bytes, lines, query.filter(|query| !query.trim().is_empty())) {
            (Some(bytes), _, _) => Part::Bytes(bytes.parse()?),
            (None, Some(lines), _) => Part::Lines(lines.parse()?),
            (None, None, Some(query)) => Part::Needed { query, budget: budget.unwrap_or(self.budget) },
            (None, None, None) => Part::Whole,
        };
        let mut found = retrieve(self.pipeline.as_ref(), &id, part, None, cancel)?;
        let mut words = std::mem::take(&mut found.original_content);
        // Models are not shown the figures.
        if !found.reason.is_empty() {
            words.push_str(&format!(
                "\n[epitome: the whole text, since it was not cut for the query: {}]",
                found.reason
            ));
        } else if words.is_empty() {
            let (lines, bytes) = (found.original_lines, found.original_bytes);
            words = format!("[epitome: nothing in that range: the text has {lines} lines and {bytes} bytes]");
        }
        let mut data = serde_json::to_value(&found)?;
        if let Some(figures) = data.as_object_mut() {
            figures.remove("original_content");
        }
        Ok(Said { words, data, is_data: false })
    }

    fn explain(&self, asked: arguments::Explain, cancel: &Cancel) -> Result<Said, ToolError> {
        let arguments::Explain { text, hash, id, query, budget } = asked;
        let text = match (text, arguments::named(hash, id).map_err(ToolError::Arguments)?) {
            (Some(text), None) => text,
            (None, Some(id)) => {
                let id: Id = id.parse()?;
                let known = self.originals().and_then(|originals| originals.get(&id));
                known.ok_or_else(|| Unknown(id.to_string()))?
            }
            _ => return Err(ToolError::Arguments("give a `text`, or the `hash` of one".to_owned())),
        };
        let request = self.request(text, query, budget, true);
        let compaction = self.pipeline.compact(&request, cancel)?;
        let mut data = explain::of(&request.text, &compaction);
        (data["outcome"], data["reason"]) = (json!(outcome(&compaction).0), json!(outcome(&compaction).1));
        data["figures"] = serde_json::to_value(&compaction.figures)?;
        Ok(Said { words: serde_json::to_string_pretty(&data)?, data, is_data: true })
    }

    fn request(
        &self,
        text: String,
        query: Option<String>,
        budget: Option<Budget>,
        explain: bool,
    ) -> CompactRequest {
        let query = query.filter(|query| !query.trim().is_empty());
        CompactRequest { query, explain, ..CompactRequest::new(text, budget.unwrap_or(self.budget)) }
    }

    fn originals(&self) -> Option<Originals> {
        self.pipeline.originals()
    }
}

/// What `compact` says of a compaction that takes `after` tokens with its marker.
fn said(compaction: &Compaction, id: Option<&Id>, mark: &str, after: usize) -> Said {
    let figures = &compaction.figures;
    let ratio = if mark.is_empty() { figures.ratio } else { figures.tokens_before as f64 / after as f64 };
    let data = json!({
        "id": id.map(Id::as_str),
        "outcome": outcome(compaction).0,
        "reason": outcome(compaction).1,
        "tokens_before": figures.tokens_before,
        "tokens_after": after,
        "ratio": ratio,
        "retention": figures.retention,
        "kind": figures.kind,
    });
    Said { words: format!("{}{mark}", compaction.text), data, is_data: false }
}

/// The outcome and its reason.
fn outcome(compaction: &Compaction) -> (&'static str, &'static str) {
    match compaction.outcome {
        Outcome::Compacted => ("compacted", ""),
        Outcome::Passed(reason) => ("passed", reason.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::retrieve::tests::Fixed;

    #[test]
    fn a_marker_counts_and_never_makes_a_text_longer() {
        let compact = |text: String, result: &str| {
            let tools = Tools::new(Arc::new(Fixed::new(result)), Budget::Tokens(100));
            let arguments = json!({ "text": text }).as_object().unwrap().clone();
            tools.call("compact", arguments, &Cancel::never()).unwrap()
        };
        let long = compact("word ".repeat(200), "word");
        let counted = Fixed::new("").counter(None).count(&long.words);
        let after = long.data["tokens_after"].as_u64().unwrap();
        assert!(long.words.contains("hash=") && after.abs_diff(counted as u64) <= 1, "{}", long.words);
        // The result alone would be shorter, but not with its marker.
        let text = "word ".repeat(12);
        let short = compact(text.clone(), "word");
        assert_eq!(short.words, text);
        assert_eq!((&short.data["id"], &short.data["reason"]), (&json!(null), &json!("not-shorter")));
        assert_eq!(short.data["tokens_after"], short.data["tokens_before"]);
    }
}
