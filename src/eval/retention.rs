//! Retention, measured without a reader: whether the answer is still in the text, and which share of the gold
//! spans survives.

use std::{borrow::Cow, ops::Range};

use epitome_text::sentence_ends;

use super::{
    row::{Row, Scoring},
    scoring::{contains_words, normalize},
    tasks::gold::label_length,
};

/// A surviving sentence with fewer words does not prove that its gold span survives.
const SENTENCE: usize = 4;

/// Answers that occur in every text by chance.
const EVERYWHERE: [&str; 3] = ["yes", "no", "noanswer"];

/// A row prepared for many retention queries: contexts and answers are normalised once.
#[derive(Clone, Debug)]
pub struct Retention {
    answers: Vec<String>,
    all: bool,
    gold: Vec<Gold>,
}

/// Which spans of a context hold what a row needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededSpans {
    /// Of each span, whether it does.
    pub spans: Vec<bool>,
    /// Whether any one of them is enough.
    pub any: bool,
}

/// A gold span.
#[derive(Clone, Debug)]
struct Gold {
    range: Range<usize>,
    /// The range's sentences that are long enough to count.
    sentences: Vec<Range<usize>>,
}

impl Retention {
    /// Normalises the row's context, and keeps the answers that it contains.
    pub fn new(row: &Row) -> Self {
        let all = row.scoring == Scoring::ContainsAll;
        let wanted: Vec<&String> = match row.answer_index {
            Some(index) if row.scoring == Scoring::Mcq => row.choices.get(index).into_iter().collect(),
            _ => row.answers.iter().collect(),
        };
        let context = normalize(&row.context);
        let count = wanted.len();
        let mut answers: Vec<String> = wanted.into_iter().map(|answer| normalize(answer)).collect();
        answers.retain(|answer| !EVERYWHERE.contains(&answer.as_str()) && contains_words(&context, answer));
        if all && answers.len() < count {
            answers.clear();
        }
        let gold = row.gold.iter().map(|range| Gold::new(&row.context, range.clone())).collect();
        Self { answers, all, gold }
    }

    /// Whether `text` still holds an answer (every answer, if all are required), as whole words after SQuAD
    /// normalisation. `None` if the whole context does not hold it either, and for answers such as "yes" that
    /// are not strings of the text. For multiple choice, the answer is the text of the correct option.
    ///
    /// Reference numbers such as `[#7]` in a compacted text are ignored.
    pub fn answer_kept(&self, text: &str) -> Option<bool> {
        if self.answers.is_empty() {
            return None;
        }
        let text = normalize(&without_references(text));
        let mut held = self.answers.iter().map(|answer| contains_words(&text, answer));
        Some(if self.all { held.all(|held| held) } else { held.any(|held| held) })
    }

    /// Whether the context holds anything that is looked for.
    pub fn is_told(&self) -> bool {
        !(self.answers.is_empty() && self.gold.is_empty())
    }

    /// Which of the `spans` of a context hold an answer; or where the context holds none, which lie in a gold span for
    /// at least half. `None` if there are none of either.
    pub fn needed(&self, context: &str, spans: &[Range<usize>]) -> Option<NeededSpans> {
        let text = |span: &Range<usize>| normalize(context.get(span.clone()).unwrap_or_default());
        let holds = |span: &Range<usize>| {
            let text = text(span);
            self.answers.iter().any(|answer| contains_words(&text, answer))
        };
        let lies = |span: &Range<usize>| {
            let shared =
                |gold: &Gold| span.end.min(gold.range.end).saturating_sub(span.start.max(gold.range.start));
            self.gold.iter().any(|gold| !span.is_empty() && 2 * shared(gold) >= span.len())
        };
        let needed = match self.answers.is_empty() {
            false => NeededSpans { spans: spans.iter().map(holds).collect(), any: !self.all },
            true => NeededSpans { spans: spans.iter().map(lies).collect(), any: false },
        };
        needed.spans.contains(&true).then_some(needed)
    }

    /// The share of gold spans that survive in the byte ranges `kept` of the context. A span survives if half
    /// of its bytes are kept, or one whole sentence of at least four words (not counting its label). `None`
    /// if the row has no gold spans.
    pub fn gold_kept(&self, kept: &[Range<usize>]) -> Option<f64> {
        if self.gold.is_empty() {
            return None;
        }
        let kept = merged(kept);
        let survive = self.gold.iter().filter(|gold| gold.survives(&kept)).count();
        Some(survive as f64 / self.gold.len() as f64)
    }
}

/// [`Retention::answer_kept`] for a single call.
pub fn answer_kept(row: &Row, text: &str) -> Option<bool> {
    Retention::new(row).answer_kept(text)
}

/// [`Retention::gold_kept`] for a single call.
pub fn gold_kept(row: &Row, kept: &[Range<usize>]) -> Option<f64> {
    Retention::new(row).gold_kept(kept)
}

impl Gold {
    fn new(context: &str, range: Range<usize>) -> Self {
        let text = context.get(range.clone()).unwrap_or_default();
        let label = label_length(text);
        let body = text.get(label..).unwrap_or_default();
        let mut start = 0;
        let mut sentences = Vec::new();
        for end in sentence_ends(body) {
            let sentence = body.get(start..end).unwrap_or_default();
            let says =
                sentence.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
            if says >= SENTENCE {
                let from = range.start + label + start;
                let left = sentence.len() - sentence.trim_start().len();
                sentences.push(from + left..from + left + sentence.trim().len());
            }
            start = end;
        }
        Self { range, sentences }
    }

    fn survives(&self, kept: &[Range<usize>]) -> bool {
        let first = kept.partition_point(|range| range.end <= self.range.start);
        let touching = || kept.iter().skip(first).take_while(|range| range.start < self.range.end);
        let bytes: usize = touching()
            .map(|range| range.end.min(self.range.end).saturating_sub(range.start.max(self.range.start)))
            .sum();
        let whole = |sentence: &Range<usize>| {
            touching().any(|range| range.start <= sentence.start && range.end >= sentence.end)
        };
        bytes > 0 && (2 * bytes >= self.range.len() || self.sentences.iter().any(whole))
    }
}

/// Ranges in order, with adjacent and overlapping ones merged.
pub(super) fn merged(ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// A compacted text without its entry numbers, which are not words of the source.
pub(super) fn without_references(text: &str) -> Cow<'_, str> {
    if !text.contains("[#") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("[#");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        match rest.strip_prefix(']') {
            Some(rest) if rest.len() + 1 < part.len() => out.push_str(rest),
            _ => {
                out.push_str("[#");
                out.push_str(part);
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::row::Stratum;

    fn row(context: &str, scoring: Scoring, answers: &[&str], gold: Vec<Range<usize>>) -> Row {
        Row {
            id: "1".into(),
            task: "t".into(),
            context: context.into(),
            query: "q".into(),
            answers: answers.iter().map(|answer| (*answer).to_owned()).collect(),
            choices: Vec::new(),
            answer_index: None,
            scoring,
            summary: Default::default(),
            gold,
            position: None,
            document: "d".into(),
            stratum: Stratum::Semantic,
        }
    }

    #[test]
    fn answer_kept_is_none_for_answers_missing_from_the_context() {
        let context = "Captain Jones sailed in 1620. He had 14 men, as the log says.";
        let jones = row(context, Scoring::SubspanEm, &["captain jones"], vec![]);
        assert_eq!(answer_kept(&jones, "the Captain, Jones!"), Some(true));
        assert_eq!(answer_kept(&jones, "He had 14 men"), Some(false));
        assert_eq!(answer_kept(&row(context, Scoring::SubspanEm, &["Smith"], vec![]), "Smith"), None);
        let number = row(context, Scoring::SubspanEm, &["14"], vec![]);
        assert_eq!(answer_kept(&number, "[#14] Captain Jones sailed."), Some(false));
        assert_eq!(answer_kept(&number, "[#2] He had 14 men"), Some(true));
        let both = row(context, Scoring::ContainsAll, &["1620", "14"], vec![]);
        assert_eq!((answer_kept(&both, "1620"), answer_kept(&both, "14 in 1620")), (Some(false), Some(true)));
        assert_eq!(answer_kept(&row(context, Scoring::ContainsAll, &["1620", "15"], vec![]), "1620"), None);
        assert_eq!(answer_kept(&row("no one", Scoring::F1Contains, &["no"], vec![]), "no one"), None);
    }

    #[test]
    fn spans_that_hold_an_answer_are_needed_and_else_those_of_the_gold() {
        let context = "Captain Jones sailed in 1620. He had 14 men. Nobody knows why.";
        let spans = [0..29, 30..44, 45..62];
        let needed = |scoring, answers: &[&str], gold| {
            Retention::new(&row(context, scoring, answers, gold)).needed(context, &spans)
        };
        let of = |spans: [bool; 3], any| Some(NeededSpans { spans: spans.into(), any });
        assert_eq!(needed(Scoring::SubspanEm, &["14", "Smith"], vec![]), of([false, true, false], true));
        assert_eq!(needed(Scoring::ContainsAll, &["14", "1620"], vec![]), of([true, true, false], false));
        // Of a free answer, only the gold says where it stands; here the gold begins in the middle of a span.
        let free = |gold| needed(Scoring::RougeOrJudge, &["They sailed."], gold);
        assert_eq!(free(vec![0..5, 20..44]), of([false, true, false], false));
        assert_eq!(free(vec![]), None);
        assert_eq!(needed(Scoring::SubspanEm, &["men nobody"], vec![]), None, "in no span as a whole");
    }

    #[test]
    fn gold_survives_by_a_sentence_or_by_half() {
        let context = "Document [1](Title: A) Yes. The ship sank in the storm of May. Nobody knows why it \
                       happened, and nobody asked, for a long time after that.\nOther text.";
        let end = context.find('\n').unwrap();
        let kept = |ranges: &[Range<usize>]| {
            gold_kept(&row(context, Scoring::SubspanEm, &["x"], vec![0..end, end + 1..context.len()]), ranges)
        };
        let at = |part: &str| context.find(part).map(|at| at..at + part.len()).unwrap();
        assert_eq!(kept(&[]), Some(0.0));
        let whole = 0..context.len();
        assert_eq!(kept(&[whole]), Some(1.0));
        assert_eq!(kept(&[at("The ship sank in the storm of May.")]), Some(0.5));
        assert_eq!(kept(&[at("Document [1](Title: A) Yes.")]), Some(0.0), "a label says nothing");
        assert_eq!(kept(&[at("ship sank")]), Some(0.0));
        assert_eq!(
            kept(&[
                at("sank in the storm of May. Nobody knows why it"),
                at("happened, and nobody asked, for a")
            ]),
            Some(0.5)
        );
        assert_eq!(kept(&[at("Other text")]), Some(0.5));
        assert_eq!(gold_kept(&row(context, Scoring::SubspanEm, &["x"], vec![]), &[]), None);
    }
}
