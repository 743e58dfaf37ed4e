//! LongBench v1 (Bai et al., arXiv 2308.14508, table 1 and `eval.py`): 21 data sets in one layout.
//!
//! The scoring follows from the data set: token F1 for questions, ROUGE-L for summaries, edit similarity for
//! code. Where the paper gives partial credit (the right class or number among all that an answer names), an
//! answer that contains the right one scores 1, whatever else it names.

use serde::Deserialize;

use super::{Draft, gold, parse};
use crate::eval::{
    row::{Scoring, Stratum},
    suite::TaskSpec,
};

#[derive(Deserialize)]
struct Raw {
    input: String,
    context: String,
    answers: Vec<String>,
    dataset: String,
    #[serde(rename = "_id", default)]
    id: Option<String>,
}

/// For some data sets, `input` is empty or not a question, because the paper's prompt asks it.
fn ask(dataset: &str, input: &str) -> String {
    let question = match dataset {
        "gov_report" => "Write a summary of the report in one page.",
        "multi_news" => "Write a summary of all the news in one page.",
        "vcsum" => "请总结这次会议的内容。",
        "samsum" => "Summarize the last dialogue in a few short sentences, as the examples do.",
        "trec" => "Which type is the last question of? Answer with the type alone, as the examples do.",
        "lsht" => "最后一条新闻属于哪个类别？请像例子那样只回答类别。",
        "passage_count" => {
            "How many different paragraphs are there, not counting repetitions? Answer with the number alone."
        }
        "passage_retrieval_en" => {
            "Which paragraph is this abstract of? Answer with its name alone, such as \"Paragraph 1\"."
        }
        "passage_retrieval_zh" => "以下摘要出自哪一段？请只回答段落的编号，例如“段落1”。",
        "lcc" | "repobench-p" => "Write the next line of this code, and nothing else.",
        _ => return input.to_owned(),
    };
    if input.trim().is_empty() { question.to_owned() } else { format!("{question}\n\n{input}") }
}

fn scoring(dataset: &str) -> Option<Scoring> {
    Some(match dataset {
        "narrativeqa" | "qasper" | "multifieldqa_en" | "multifieldqa_zh" | "hotpotqa" | "2wikimqa"
        | "musique" | "triviaqa" => Scoring::F1OrJudge,
        "dureader" | "gov_report" | "qmsum" | "multi_news" | "vcsum" | "samsum" => Scoring::RougeOrJudge,
        "trec" | "lsht" | "passage_count" | "passage_retrieval_en" | "passage_retrieval_zh" => {
            Scoring::ContainsAny
        }
        "lcc" | "repobench-p" => Scoring::EditSimilarity,
        _ => return None,
    })
}

pub(super) fn read(json: &str, spec: &TaskSpec) -> Result<Draft, String> {
    let raw: Raw = parse(json)?;
    // LongBench-E has the same data sets, balanced by length.
    let dataset = raw.dataset.strip_suffix("_e").unwrap_or(&raw.dataset);
    let scoring = scoring(dataset)
        .or(spec.scoring)
        .ok_or_else(|| format!("dataset {dataset:?} is not one of LongBench; set the task's `scoring`"))?;
    let retrieval = dataset.starts_with("passage_retrieval");
    let paragraphs = if retrieval { paragraphs(&raw.context, &raw.answers) } else { Vec::new() };
    Ok(Draft {
        id: raw.id,
        query: ask(dataset, &raw.input),
        context: raw.context,
        answers: raw.answers,
        scoring,
        gold: paragraphs,
        stratum: if retrieval { Stratum::Lexical } else { Stratum::Semantic },
        ..Draft::default()
    })
}

/// The lines that begin with an answer such as `Paragraph 7`, not followed by another digit.
fn paragraphs(context: &str, answers: &[String]) -> Vec<std::ops::Range<usize>> {
    let named = |line: &str| {
        answers.iter().any(|answer| {
            line.strip_prefix(answer.trim())
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let lines = gold::lines(context).into_iter();
    lines.filter(|line| context.get(line.clone()).is_some_and(named)).collect()
}
