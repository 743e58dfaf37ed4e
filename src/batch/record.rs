//! One line in, one line out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use epitome_compactor::{
    Budget, CompactRequest, Compaction,
    compaction::{self, Piece, PieceKind, Place},
};
use epitome_text::Origin;
use epitome_work::Cancel;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use super::{Compact, cause::Cause, source::Line};

/// The outcome of a line that could not be used.
const BAD: &str = "error";
/// The outcome of a line that could not be compacted.
const FAILED_OPEN: &str = "failed-open";

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
    /// It could not be compacted, for the reason given, and stands in the output as it came.
    FailedOpen(Cause),
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

/// The fields as they are written, so that one which cannot be used does not cost the id.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    query: Option<&'a RawValue>,
    #[serde(borrow)]
    budget: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

struct Input {
    text: String,
    query: Option<String>,
    budget: Option<Budget>,
    model: Option<String>,
}

impl Input {
    fn read(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            text: field("text", fields.text)?.ok_or("it has no \"text\"")?,
            query: field("query", fields.query)?,
            budget: field("budget", fields.budget)?,
            model: field("model", fields.model)?,
        })
    }
}

/// None for `null`, as where there is no such field.
fn field<T: DeserializeOwned>(name: &str, value: Option<&RawValue>) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map_err(|error| format!("{name:?}: {}", without_place(&error)))
}

/// What is wrong, without the line and column that serde_json adds: the line is always 1 of 1.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
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
    cause: Option<Cause>,
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

/// What an output line says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is a result.
    Good,
    /// Its input line could not be used.
    Bad,
    /// Its text could not be compacted.
    FailedOpen(Cause),
}

/// Reads what an output line says of itself.
pub(super) fn written(line: &[u8]) -> Written {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        outcome: &'a str,
        cause: Option<Cause>,
    }
    match serde_json::from_slice(line) {
        Ok(Fields { outcome: BAD, .. }) => Written::Bad,
        Ok(Fields { outcome: FAILED_OPEN, cause }) => Written::FailedOpen(cause.unwrap_or(Cause::Error)),
        Ok(_) | Err(_) => Written::Good,
    }
}

/// Compacts a line. Never fails: what goes wrong is an outcome.
pub(super) fn compact_line(
    compact: &dyn Compact,
    line: &Line,
    defaults: &Defaults,
    cancel: &Cancel,
) -> Record {
    let fields: Fields<'_> = match std::str::from_utf8(&line.bytes) {
        Err(error) => {
            return bad(
                line,
                None,
                format!("not UTF-8: the byte at offset {} does not belong", error.valid_up_to()),
            );
        }
        // An array would be taken for the fields in order.
        Ok(text) if !text.trim_start().starts_with('{') => {
            return bad(line, None, "not a JSON object".to_owned());
        }
        Ok(text) => match serde_json::from_str(text) {
            Err(error) => {
                let (what, column) = (without_place(&error), error.column());
                let kind = if error.is_data() { "not usable" } else { "not a JSON object" };
                return bad(line, None, format!("{kind}: {what} at column {column}"));
            }
            Ok(fields) => fields,
        },
    };
    let input = match Input::read(&fields) {
        Ok(input) => input,
        Err(reason) => return bad(line, fields.id, reason),
    };
    let number = to_raw_value(&line.number).ok();
    let Some(id) = fields.id.or(number.as_deref()) else {
        return bad(line, None, "its number cannot be written".to_owned());
    };
    let request = CompactRequest {
        text: input.text,
        query: input.query.or_else(|| defaults.query.clone()),
        budget: input.budget.unwrap_or(defaults.budget),
        model: input.model.or_else(|| defaults.model.clone()),
        explain: false,
        origin: Origin::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    // One text must not take the others down with it.
    let result = catch_unwind(AssertUnwindSafe(|| compact.compact(&request, cancel)));
    let (cause, reason) = match result {
        Ok(Ok(compaction)) => return good(line, id, &compaction),
        Ok(Err(error)) => (Cause::from(&error), error.to_string()),
        Err(_) => (Cause::Internal, "internal error: the compaction of this text panicked".to_owned()),
    };
    let tokens = catch_unwind(AssertUnwindSafe(|| compact.count(request.model.as_deref(), &request.text)))
        .unwrap_or_default();
    let output = Output {
        id,
        outcome: FAILED_OPEN,
        cause: Some(cause),
        reason: Some(&reason),
        text: &request.text,
        tokens_before: tokens,
        tokens_after: tokens,
        ratio: 1.0,
        pieces: Vec::new(),
    };
    finish(line, Outcome::FailedOpen(cause), &output, tokens, tokens)
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
        cause: None,
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
    let output = BadOutput { id, line: line.number, outcome: BAD, error: &reason };
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
