//! One line in, one line out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{Compact, source::Line};
use crate::{
    budget::Budget,
    compaction::{self, Cancel, CompactRequest, Compaction, Piece, PieceKind, Place},
};

/// What holds for a line that does not say otherwise.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The query.
    pub query: Option<String>,
    /// The budget.
    pub budget: Budget,
    /// The model that will read the result.
    pub model: Option<String>,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made shorter.
    Compacted,
    /// It was within its budget, or could not be made shorter.
    Passed,
    /// It could not be compacted, and stands in the output as it came.
    FailedOpen,
    /// It could not be read, for the reason given.
    Bad(String),
}

/// The result of a line.
#[derive(Clone, Debug)]
pub struct Record {
    /// The number of the input line, from 1.
    pub line: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// The output line, with its line end.
    pub json: Vec<u8>,
    /// Tokens of the text.
    pub tokens_before: usize,
    /// Tokens of the result.
    pub tokens_after: usize,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    id: Option<&'a RawValue>,
    text: Option<String>,
    query: Option<String>,
    budget: Option<Budget>,
    model: Option<String>,
}

/// Any value as it is written, `null` as well.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct Output<'a> {
    id: &'a RawValue,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    text: &'a str,
    tokens_before: usize,
    tokens_after: usize,
    ratio: f64,
    pieces: Vec<OutputPiece>,
}

#[derive(Serialize)]
struct OutputPiece {
    kind: PieceKind,
    place: Place,
    source: [usize; 2],
    score: f32,
}

impl From<&Piece> for OutputPiece {
    fn from(piece: &Piece) -> Self {
        let source = [piece.source.start, piece.source.end];
        Self { kind: piece.kind, place: piece.place, source, score: piece.score }
    }
}

#[derive(Serialize)]
struct BadOutput<'a> {
    id: Option<&'a RawValue>,
    line: u64,
    outcome: &'static str,
    error: &'a str,
}

/// Compacts a line. Never fails: what goes wrong is an outcome.
pub(super) fn compact_line(
    compact: &dyn Compact,
    line: &Line,
    defaults: &Defaults,
    cancel: &Cancel,
) -> Record {
    let input: Input<'_> = match std::str::from_utf8(&line.bytes) {
        Err(error) => {
            return bad(
                line,
                None,
                format!("not UTF-8: the byte at offset {} does not belong", error.valid_up_to()),
            );
        }
        Ok(text) => match serde_json::from_str(text) {
            Err(error) => return bad(line, None, format!("not an object of the expected form: {error}")),
            Ok(input) => input,
        },
    };
    let Some(text) = input.text else {
        return bad(line, input.id, "it has no \"text\"".to_owned());
    };
    let number = to_raw_value(&line.number).ok();
    let Some(id) = input.id.or(number.as_deref()) else {
        return bad(line, None, "its number cannot be written".to_owned());
    };
    let request = CompactRequest {
        text,
        query: input.query.or_else(|| defaults.query.clone()),
        budget: input.budget.unwrap_or(defaults.budget),
        model: input.model.or_else(|| defaults.model.clone()),
        explain: false,
    };
    // One text must not take the others down with it.
    let result = catch_unwind(AssertUnwindSafe(|| compact.compact(&request, cancel)));
    let reason = match result {
        Ok(Ok(compaction)) => return good(line, id, &compaction),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "internal error: the compaction of this text panicked".to_owned(),
    };
    let tokens = catch_unwind(AssertUnwindSafe(|| compact.count(request.model.as_deref(), &request.text)))
        .unwrap_or_default();
    let output = Output {
        id,
        outcome: "failed-open",
        reason: Some(&reason),
        text: &request.text,
        tokens_before: tokens,
        tokens_after: tokens,
        ratio: 1.0,
        pieces: Vec::new(),
    };
    finish(line, Outcome::FailedOpen, &output, tokens, tokens)
}

fn good(line: &Line, id: &RawValue, compaction: &Compaction) -> Record {
    let figures = &compaction.figures;
    let (outcome, word, reason) = match &compaction.outcome {
        compaction::Outcome::Compacted => (Outcome::Compacted, "compacted", None),
        compaction::Outcome::Passed(reason) => (Outcome::Passed, "passed", Some(reason.as_str())),
    };
    let output = Output {
        id,
        outcome: word,
        reason,
        text: &compaction.text,
        tokens_before: figures.tokens_before,
        tokens_after: figures.tokens_after,
        ratio: figures.ratio,
        pieces: compaction.pieces.iter().map(OutputPiece::from).collect(),
    };
    finish(line, outcome, &output, figures.tokens_before, figures.tokens_after)
}

fn bad(line: &Line, id: Option<&RawValue>, reason: String) -> Record {
    let output = BadOutput { id, line: line.number, outcome: "error", error: &reason };
    let json = to_line(&output).unwrap_or_default();
    Record { line: line.number, outcome: Outcome::Bad(reason), json, tokens_before: 0, tokens_after: 0 }
}

fn finish(line: &Line, outcome: Outcome, output: &Output<'_>, before: usize, after: usize) -> Record {
    match to_line(output) {
        Ok(json) => Record { line: line.number, outcome, json, tokens_before: before, tokens_after: after },
        Err(error) => bad(line, Some(output.id), format!("the result cannot be written: {error}")),
    }
}

fn to_line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = serde_json::to_vec(value)?;
    json.push(b'\n');
    Ok(json)
}
