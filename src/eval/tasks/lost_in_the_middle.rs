//! The files of lost-in-the-middle (Liu et al., arXiv 2307.03172): questions over passages, and key-value
//! retrieval. The context is formatted as in the paper's prompts.

use std::fmt::Write as _;

use serde::Deserialize;

use super::{Draft, parse, short};
use crate::eval::{
    row::{Scoring, Stratum},
    suite::TaskSpec,
};

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Passages { question: String, answers: Vec<String>, ctxs: Vec<Passage> },
    Pairs { ordered_kv_records: Vec<(String, String)>, key: String, value: String },
}

#[derive(Deserialize)]
struct Passage {
    title: String,
    text: String,
    #[serde(default)]
    isgold: Option<bool>,
}

pub(super) fn read(json: &str, _: &TaskSpec) -> Result<Draft, String> {
    match parse(json) {
        Ok(Raw::Passages { question, answers, ctxs }) => Ok(passages(question, answers, &ctxs)),
        Ok(Raw::Pairs { ordered_kv_records, key, value }) => pairs(&ordered_kv_records, &key, value),
        Err(_) => Err("neither question, answers and ctxs (each with title and text) nor \
                       ordered_kv_records, key and value are there"
            .into()),
    }
}

fn passages(question: String, answers: Vec<String>, passages: &[Passage]) -> Draft {
    let mut context = String::new();
    let mut gold = Vec::new();
    for (number, passage) in (1..).zip(passages) {
        if number > 1 {
            context.push('\n');
        }
        let start = context.len();
        // Writing to a string cannot fail.
        let _ = write!(context, "Document [{number}](Title: {}) {}", passage.title, passage.text);
        if passage.isgold == Some(true) {
            gold.push(start..context.len());
        }
    }
    Draft {
        context,
        answers,
        gold,
        scoring: Scoring::SubspanEm,
        // The same question occurs once for each position of its gold passage.
        document: Some(short(&blake3::hash(question.as_bytes()))),
        query: question,
        ..Draft::default()
    }
}

fn pairs(records: &[(String, String)], key: &str, value: String) -> Result<Draft, String> {
    let mut context = String::new();
    let mut gold = Vec::new();
    for (place, (k, v)) in records.iter().enumerate() {
        context.push(if place == 0 { '{' } else { ' ' });
        let start = context.len();
        let _ = write!(context, "\"{k}\": \"{v}\"");
        if k == key {
            gold.push(start..context.len());
        }
        context.push_str(if place + 1 == records.len() { "}" } else { ",\n" });
    }
    if gold.is_empty() {
        return Err(format!("the key {key:?} is not among ordered_kv_records"));
    }
    Ok(Draft {
        context,
        query: format!("What is the value of the key \"{key}\" in the JSON object?"),
        answers: vec![value],
        gold,
        scoring: Scoring::ContainsAny,
        stratum: Stratum::Lexical,
        ..Draft::default()
    })
}
