//! This repository's own rows (`eval/data/README.md`).

use std::ops::Range;

use serde::Deserialize;

use super::{Draft, Label, OneOrMany, gold, parse};
use crate::eval::{
    row::{Scoring, Stratum},
    suite::TaskSpec,
};

/// Name prefixes of tasks that word matching solves.
const LEXICAL: [&str; 4] = ["niah_", "kv_", "ruler_", "passage_retrieval"];

#[derive(Deserialize)]
struct Raw {
    id: String,
    #[serde(default)]
    task: Option<String>,
    context: String,
    query: String,
    answers: Vec<String>,
    #[serde(default)]
    choices: Option<Vec<String>>,
    #[serde(default)]
    answer_index: Option<usize>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    scoring: Scoring,
    #[serde(default)]
    doc: Option<Label>,
    #[serde(default)]
    question_id: Option<Label>,
    #[serde(default)]
    gold_position: Option<usize>,
    #[serde(default)]
    gold_positions: Option<Vec<usize>>,
    #[serde(default)]
    needle: Option<String>,
    #[serde(default)]
    needle_char: Option<usize>,
    #[serde(default)]
    chain: Option<Vec<String>>,
    #[serde(default)]
    relevant_turn_spans: Option<Vec<(usize, usize)>>,
    #[serde(default)]
    evidence: Option<OneOrMany>,
}

/// Byte ranges of the answer, according to the row's metadata.
fn places(context: &str, answers: &[String], metadata: &Metadata) -> Vec<Range<usize>> {
    if let Some(needle) = &metadata.needle {
        // In characters, not bytes.
        let stated = metadata.needle_char.and_then(|place| gold::byte_of(context, place));
        let there = stated.filter(|at| context.get(*at..).is_some_and(|rest| rest.starts_with(needle)));
        let there = there.map(|at| at..at + needle.len());
        return there.or_else(|| gold::find(context, needle)).into_iter().collect();
    }
    if let Some(chain) = &metadata.chain {
        return chain.iter().filter_map(|statement| gold::find(context, statement)).collect();
    }
    if let Some(spans) = &metadata.relevant_turn_spans {
        return gold::turns(context, spans);
    }
    let positions = metadata.gold_positions.clone().or_else(|| metadata.gold_position.map(|one| vec![one]));
    if let Some(positions) = positions {
        let documents = gold::documents(context);
        if documents.is_empty() {
            let lines = gold::lines(context);
            let holds = |line: &&Range<usize>| {
                let text = context.get((*line).clone()).unwrap_or_default();
                answers.iter().any(|answer| text.contains(answer.as_str()))
            };
            let lines = positions.iter().filter_map(|place| lines.get(*place).filter(holds));
            return lines.cloned().collect();
        }
        // One question of `hotpot_multidoc_40` has only 32 passages; the last stands for the 40th.
        let last = documents.len() - 1;
        return positions.iter().filter_map(|place| documents.get((*place).min(last))).cloned().collect();
    }
    match &metadata.evidence {
        Some(evidence) => gold::evidence(context, &evidence.clone().into_vec()),
        None => Vec::new(),
    }
}

pub(super) fn read(json: &str, spec: &TaskSpec) -> Result<Draft, String> {
    let raw: Raw = parse(json)?;
    let task = raw.task.as_deref().unwrap_or(&spec.name);
    let lexical = LEXICAL.iter().any(|start| task.starts_with(start));
    // `nq_multidoc_20` and `nq_multidoc_100` share their questions.
    let family = task.split('_').next().unwrap_or(task);
    let document = match (&raw.metadata.doc, &raw.metadata.question_id) {
        (Some(doc), _) => Some(format!("{task}:{doc}")),
        (None, Some(question)) => Some(format!("{family}:{question}")),
        (None, None) => None,
    };
    Ok(Draft {
        gold: places(&raw.context, &raw.answers, &raw.metadata),
        id: Some(raw.id),
        context: raw.context,
        query: raw.query,
        answers: raw.answers,
        choices: raw.choices.unwrap_or_default(),
        answer_index: raw.answer_index,
        scoring: raw.metadata.scoring,
        document,
        stratum: if lexical { Stratum::Lexical } else { Stratum::Semantic },
    })
}
