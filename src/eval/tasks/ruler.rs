//! RULER's jsonl (Hsieh et al., arXiv 2404.06654, appendix B): the whole prompt is in `input`.
//!
//! Its templates put the question after the text, and some versions the beginning of the answer after the
//! question. The text becomes the context and the question the query; the instruction before the text and any
//! example before that are dropped.
//!
//! The paper scores the share of `outputs` that occur (any of them for its questions on SQuAD and HotpotQA).
//! Here all must occur, so that a score is 0 or 1.

use std::ops::Range;

use serde::Deserialize;

use super::{Draft, Label, gold, parse};
use crate::eval::{
    row::{Scoring, Stratum},
    suite::TaskSpec,
};

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    index: Option<Label>,
    input: String,
    outputs: Vec<Label>,
}

/// How the templates' questions begin.
const QUESTIONS: [&str; 3] =
    ["\nWhat are all the special magic ", "\nWhat is the special magic ", "\nQuestion: "];
/// How the instructions before the text end.
const INSTRUCTIONS: [&str; 5] = [
    "afterwards.\n",
    "hidden in the following text.\n",
    "Memorize the ones that appear most often.\n",
    "Find the three most frequently appeared coded words. ",
    "The following are given documents.\n",
];
/// What may follow the question: the beginning of the answer, or the end of a chat turn.
const BEHIND: [&str; 5] = ["\nAnswer:", " Answer:", "[/INST]", "<|", " The special magic "];
/// Most bytes from the start of a needle's sentence to its value.
const NEEDLE: usize = 300;

pub(super) fn read(json: &str, _: &TaskSpec) -> Result<Draft, String> {
    let raw: Raw = parse(json)?;
    let answers: Vec<String> = raw.outputs.iter().map(ToString::to_string).collect();
    let input = raw.input.as_str();
    let at = QUESTIONS
        .iter()
        .filter_map(|opening| input.rfind(opening))
        .max()
        .ok_or("`input` does not end with a question of one of RULER's templates")?;
    let (before, question) = (input.get(..at).unwrap_or_default(), input.get(at..).unwrap_or_default());
    let documents = before.contains("The following are given documents.");
    // Templates for documents repeat the question; the instruction is not part of the text.
    let before = match before.rfind("\n\nAnswer the question based on the given documents.") {
        Some(end) if documents => before.get(..end).unwrap_or(before),
        _ => before,
    };
    let start = INSTRUCTIONS
        .iter()
        .filter_map(|ending| before.rfind(ending).map(|at| at + ending.len()))
        .max()
        .unwrap_or(0);
    let context = before.get(start..).unwrap_or_default().trim().to_owned();
    let question = question.trim_start();
    let end = BEHIND.iter().filter_map(|behind| question.find(behind)).min().unwrap_or(question.len());
    let question = question.get(..end).unwrap_or(question).trim();
    let query = question.strip_prefix("Question: ").unwrap_or(question).to_owned();
    Ok(Draft {
        id: raw.index.map(|index| index.to_string()),
        gold: places(&context, &answers),
        context,
        query,
        answers,
        scoring: if documents { Scoring::ContainsAny } else { Scoring::ContainsAll },
        stratum: if documents { Stratum::Semantic } else { Stratum::Lexical },
        ..Draft::default()
    })
}

/// The needles and assignments that hold the answers.
fn places(context: &str, answers: &[String]) -> Vec<Range<usize>> {
    answers
        .iter()
        .filter_map(|answer| needle(context, answer).or_else(|| assignment(context, answer)))
        .collect()
}

fn needle(context: &str, answer: &str) -> Option<Range<usize>> {
    for (at, _) in context.match_indices(answer) {
        let from = context.floor_char_boundary(at.saturating_sub(NEEDLE));
        let window = context.get(from..at).unwrap_or_default();
        let Some(start) = window.rfind("One of the special magic ") else { continue };
        if window.get(start..).is_some_and(|sentence| !sentence.contains(['.', '\n'])) {
            return Some(from + start..at + answer.len());
        }
    }
    None
}

fn assignment(context: &str, variable: &str) -> Option<Range<usize>> {
    let found = gold::find(context, &format!("VAR {variable} = "))?;
    let rest = context.get(found.end..)?;
    let length = rest.find(['\n', '.']).unwrap_or(rest.len());
    Some(found.start..found.end + length)
}
