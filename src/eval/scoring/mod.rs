//! Scores answers by the metrics of the tasks' papers.
//!
//! | scoring | score | source |
//! | --- | --- | --- |
//! | mcq | 1 if the chosen option is the right one ([`choice()`]) | LongBench v2, arXiv 2412.15204 |
//! | subspan_em | 1 if an answer occurs in the first line, both normalised | Liu et al., arXiv 2307.03172, section 2.2; Kandpal et al., arXiv 2211.08411 |
//! | contains_any, contains_all | 1 if any, all answers occur as whole words, both normalised | after RULER, arXiv 2404.06654, section 3 |
//! | f1_contains | 1 if an answer occurs as whole words, else token F1 | Rajpurkar et al., arXiv 1606.05250, section 6.1 |
//! | f1_or_judge | token F1 | the same |
//! | rouge_or_judge | F1 of ROUGE-L ([`rouge`]) | Lin, ROUGE, 2004, section 3.1 |
//! | edit_similarity | edit similarity of the first line of code | LongBench, arXiv 2308.14508, `code_sim_score` |
//! | exact | 1 if the answer equals the string, ignoring surrounding white space | |
//!
//! With several references, the best score counts. Normalisation follows SQuAD ([`normalize()`]).

mod choice;
mod normal;
mod overlap;
pub mod rouge;

pub use choice::choice;
pub use normal::{contains_words, normalize};
pub use overlap::{edit_similarity, token_f1};
pub use rouge::rouge_l;

use super::row::{Row, Scoring};

/// The score of `answer`, from 0 to 1. An empty answer scores 0.
pub fn score(row: &Row, answer: &str) -> f64 {
    if answer.trim().is_empty() {
        return 0.0;
    }
    match row.scoring {
        Scoring::Mcq => {
            let chosen = choice(answer, &row.choices);
            right(chosen.is_some() && chosen == row.answer_index)
        }
        Scoring::SubspanEm => {
            // The first line only, as in the paper: otherwise a reader that copies the context would always
            // be right.
            let line = normalize(answer.trim().lines().next().unwrap_or_default());
            let holds = |reference: &String| {
                let reference = normalize(reference);
                !reference.is_empty() && line.contains(&reference)
            };
            right(row.answers.iter().any(holds))
        }
        Scoring::ContainsAny => {
            let answer = normalize(answer);
            right(row.answers.iter().any(|reference| contains_words(&answer, &normalize(reference))))
        }
        Scoring::ContainsAll => {
            let answer = normalize(answer);
            let all = row.answers.iter().all(|reference| contains_words(&answer, &normalize(reference)));
            right(all && !row.answers.is_empty())
        }
        Scoring::F1Contains => {
            let normal = normalize(answer);
            best(row, |reference| {
                if contains_words(&normal, &normalize(reference)) { 1.0 } else { token_f1(answer, reference) }
            })
        }
        Scoring::F1OrJudge => best(row, |reference| token_f1(answer, reference)),
        Scoring::RougeOrJudge => best(row, |reference| rouge_l(answer, reference)),
        Scoring::EditSimilarity => {
            let line = overlap::first_code_line(answer);
            best(row, |reference| edit_similarity(line, reference))
        }
        Scoring::Exact => right(row.answers.iter().any(|reference| reference.trim() == answer.trim())),
    }
}

fn right(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn best(row: &Row, score: impl Fn(&str) -> f64) -> f64 {
    row.answers.iter().map(|reference| score(reference)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eval::row::Stratum;

    pub(super) fn row(scoring: Scoring, answers: &[&str], choices: &[&str]) -> Row {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Row {
            id: "1".into(),
            task: "t".into(),
            context: "text".into(),
            query: "q".into(),
            answers: owned(answers),
            choices: owned(choices),
            answer_index: (!choices.is_empty()).then_some(1),
            scoring,
            summary: Default::default(),
            gold: Vec::new(),
            position: None,
            document: "d".into(),
            stratum: Stratum::Semantic,
        }
    }

    #[test]
    fn each_kind_of_score() {
        let em = row(Scoring::SubspanEm, &["The Mayflower", "Y&R"], &[]);
        assert_eq!(score(&em, "It was the  mayflower!"), 1.0);
        assert_eq!(score(&em, "On y&r, I think"), 1.0);
        assert_eq!(score(&em, "Not known.\nThe Mayflower"), 0.0, "the first line alone counts");
        let any = row(Scoring::ContainsAny, &["1964"], &[]);
        assert_eq!((score(&any, "In 1964."), score(&any, "No. 19645")), (1.0, 0.0));
        let all = row(Scoring::ContainsAll, &["ABC", "DEF"], &[]);
        assert_eq!((score(&all, "abc, def"), score(&all, "ABC")), (1.0, 0.0));
        let short = row(Scoring::F1Contains, &["Jones"], &[]);
        assert_eq!(score(&short, "Captain Jones, they say"), 1.0);
        assert_eq!(score(&short, "Captain"), 0.0);
        let exact = row(Scoring::Exact, &["a b"], &[]);
        assert_eq!((score(&exact, " a b\n"), score(&exact, "A b")), (1.0, 0.0));
        let code = row(Scoring::EditSimilarity, &["return x + 1;"], &[]);
        assert_eq!(score(&code, "```rust\n// the line\nreturn x + 1;\n}"), 1.0);
        let mcq = row(Scoring::Mcq, &[], &["one dog", "two dogs"]);
        assert_eq!((score(&mcq, "B"), score(&mcq, "A"), score(&mcq, "no idea")), (1.0, 0.0, 0.0));
        let best_of = row(Scoring::F1OrJudge, &["red", "dark blue"], &[]);
        assert_eq!(score(&best_of, "blue"), 2.0 / 3.0);
        assert_eq!(score(&row(Scoring::RougeOrJudge, &["a b c d"], &[]), "a c"), 2.0 / 3.0);
    }

    proptest! {
        #[test]
        fn scores_are_shares(answer in "\\PC{0,60}", reference in "\\PC{1,30}") {
            for scoring in [
                Scoring::Mcq, Scoring::SubspanEm, Scoring::ContainsAny, Scoring::ContainsAll,
                Scoring::F1Contains, Scoring::F1OrJudge, Scoring::RougeOrJudge, Scoring::EditSimilarity,
                Scoring::Exact,
            ] {
                let choices: &[&str] = if scoring == Scoring::Mcq { &["x", &reference] } else { &[] };
                let row = row(scoring, &[&reference], choices);
                let score = score(&row, &answer);
                prop_assert!((0.0..=1.0).contains(&score), "{scoring:?}: {score}");
            }
        }
    }
}
