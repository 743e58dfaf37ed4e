//! LongBench v2 (Bai et al., arXiv 2412.15204): four choices, one correct; `data.json`, or one row per line.

use serde::Deserialize;

use super::{Draft, parse};
use crate::eval::{row::Scoring, suite::TaskSpec};

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "_id")]
    id: String,
    question: String,
    #[serde(rename = "choice_A")]
    a: String,
    #[serde(rename = "choice_B")]
    b: String,
    #[serde(rename = "choice_C")]
    c: String,
    #[serde(rename = "choice_D")]
    d: String,
    answer: String,
    context: String,
}

pub(super) fn read(json: &str, _: &TaskSpec) -> Result<Draft, String> {
    let raw: Raw = parse(json)?;
    let index = match raw.answer.trim() {
        "A" => 0,
        "B" => 1,
        "C" => 2,
        "D" => 3,
        other => return Err(format!("the answer {other:?} is none of A, B, C, D")),
    };
    let choices = vec![raw.a, raw.b, raw.c, raw.d];
    Ok(Draft {
        id: Some(raw.id),
        context: raw.context,
        query: raw.question,
        answers: choices.get(index).cloned().into_iter().collect(),
        choices,
        answer_index: Some(index),
        scoring: Scoring::Mcq,
        ..Draft::default()
    })
}
