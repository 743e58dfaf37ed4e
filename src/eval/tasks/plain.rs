//! User-supplied rows: `context`, `query`, and `answers` or `choices` with `answer_index`.
//!
//! Optional: `id`; `document`, which groups rows over related texts for resampling (within the task);
//! `scoring`; `evidence`, quotations of the context that hold the answer. Other fields are ignored.

use serde::Deserialize;

use super::{Draft, Label, OneOrMany, gold, parse};
use crate::eval::{row::Scoring, suite::TaskSpec};

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    id: Option<Label>,
    context: String,
    query: String,
    #[serde(default, alias = "answer")]
    answers: Option<OneOrMany>,
    #[serde(default)]
    choices: Option<Vec<String>>,
    #[serde(default)]
    answer_index: Option<usize>,
    #[serde(default)]
    scoring: Option<Scoring>,
    #[serde(default)]
    document: Option<Label>,
    #[serde(default)]
    evidence: Option<OneOrMany>,
}

pub(super) fn read(json: &str, spec: &TaskSpec) -> Result<Draft, String> {
    let raw: Raw = parse(json)?;
    let choices = raw.choices.unwrap_or_default();
    let mut answers = raw.answers.map(OneOrMany::into_vec).unwrap_or_default();
    if choices.is_empty() && answers.is_empty() {
        return Err("neither `answers` nor `choices` with `answer_index` is there".into());
    }
    if answers.is_empty() {
        answers.extend(raw.answer_index.and_then(|index| choices.get(index)).cloned());
    }
    let implied = if raw.answer_index.is_some() { Scoring::Mcq } else { Scoring::F1Contains };
    let gold = raw.evidence.map(|quoted| gold::evidence(&raw.context, &quoted.into_vec()));
    Ok(Draft {
        id: raw.id.map(|id| id.to_string()),
        gold: gold.unwrap_or_default(),
        context: raw.context,
        query: raw.query,
        answers,
        choices,
        answer_index: raw.answer_index,
        scoring: raw.scoring.unwrap_or(implied),
        document: raw.document.map(|document| format!("{}:{document}", spec.name)),
        ..Draft::default()
    })
}
