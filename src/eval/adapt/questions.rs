//! Questions over text: which sentences are needed, by the scores of the cascade and by links.

use std::ops::Range;

use epitome_compactor::{
    Budget, CompactRequest, Compaction, Compactor,
    internals::{Adapted, Model, Sentences},
};

use super::{
    AdaptError, LeftOut, Work,
    calibration::{Scored, calibrate},
    choice::{self, STRENGTHS},
    folds,
    loss::{Group, Ridge, Wanted, fit},
    shown,
    trial::{self, Subject},
    verdict::{Part, Taken, verdict},
    with,
};
use crate::eval::{
    retention::{NeededSpans, Retention, merged},
    row::Row,
};

/// A row that says what is needed.
struct Question<'r> {
    row: &'r Row,
    retention: Retention,
    sentences: Sentences<'r>,
    needed: NeededSpans,
    /// The sentences that count, by their own features.
    group: Group,
}

/// The weights before and after links are known.
struct Weights {
    first: Vec<f64>,
    second: Vec<f64>,
}

/// All questions.
pub(super) struct Questions<'r> {
    all: Vec<Question<'r>>,
}

/// Ranks the rows, and leaves out those that say nothing.
pub(super) fn collect<'r>(
    work: &Work<'r>,
    compactor: &Compactor,
    left_out: &mut LeftOut,
) -> Result<Questions<'r>, AdaptError> {
    let rows = &work.data.rows;
    let found = shown("rows ranked", rows, |row| {
        work.cancel.check()?;
        let retention = Retention::new(row);
        if !retention.is_told() {
            left_out.without_answer += 1;
            return Ok(None);
        }
        let Some(sentences) = compactor.sentences(&row.context, &row.query, work.cancel)? else {
            left_out.ranked_otherwise += 1;
            return Ok(None);
        };
        let question = Question::new(row, retention, sentences);
        left_out.across_sentences += usize::from(question.is_none());
        Ok(question)
    })?;
    Ok(Questions { all: found.into_iter().flatten().collect() })
}

impl<'r> Question<'r> {
    /// `None` if no sentence that counts holds what is needed.
    fn new(row: &'r Row, retention: Retention, sentences: Sentences<'r>) -> Option<Self> {
        let mut needed = retention.needed(&row.context, &sentences.ranges())?;
        for (needed, counts) in needed.spans.iter_mut().zip(&sentences.counts) {
            *needed &= counts;
        }
        let group = group(&sentences, &needed, sentences.features.iter().map(<[f32; _]>::as_slice));
        needed.spans.contains(&true).then_some(Self { row, retention, sentences, needed, group })
    }

    /// The sentences that count, with their own features and those of their links.
    fn linked(&self, score: &[f32]) -> Group {
        let rows = self.rows(score);
        group(&self.sentences, &self.needed, rows.iter().map(Vec::as_slice))
    }

    fn rows(&self, score: &[f32]) -> Vec<Vec<f32>> {
        let links = self.sentences.links(score);
        let own = self.sentences.features.iter().zip(links);
        own.map(|(own, linked)| own.iter().copied().chain(linked).collect()).collect()
    }

    /// The scores of all sentences by their own features.
    fn first(&self, weights: &[f64]) -> Vec<f32> {
        self.sentences.features.iter().map(|row| weighed(row, weights)).collect()
    }

    fn second(&self, score: &[f32], weights: &[f64]) -> Vec<f32> {
        self.rows(score).iter().map(|row| weighed(row, weights)).collect()
    }

    /// The scores of the sentences that count, after all links are followed.
    fn scored(&self, weights: &Weights) -> Scored {
        let mut score = self.first(&weights.first);
        for _ in 0..Model::built_in().hops {
            score = self.second(&score, &weights.second);
        }
        let scores = counted(&self.sentences, &score).map(|score| f64::from(*score)).collect();
        Scored { scores, needed: counted(&self.sentences, &self.needed.spans).copied().collect() }
    }

    fn loss(&self, weights: &Weights) -> f64 {
        wanted(&self.sentences, &self.needed).loss(&self.scored(weights).scores).0
    }

    /// The share of what is needed that a compaction holds.
    fn found(&self, compaction: &Compaction) -> f64 {
        if let Some(kept) = self.retention.answer_kept(&compaction.text) {
            return if kept { 1.0 } else { 0.0 };
        }
        let verbatim = compaction.pieces.iter().filter(|piece| piece.kind.is_verbatim());
        let ranges: Vec<Range<usize>> = verbatim.map(|piece| piece.source.clone()).collect();
        self.retention.gold_kept(&merged(&ranges)).unwrap_or_default()
    }
}

/// Those of the values of all sentences that are of sentences that count.
fn counted<'v, T>(sentences: &'v Sentences<'_>, values: &'v [T]) -> impl Iterator<Item = &'v T> {
    values.iter().zip(&sentences.counts).filter(|(_, counts)| **counts).map(|(value, _)| value)
}

fn wanted(sentences: &Sentences<'_>, needed: &NeededSpans) -> Wanted {
    let own = counted(sentences, &needed.spans).copied().collect();
    if needed.any { Wanted::Any(own) } else { Wanted::Each(own) }
}

fn group<'f>(
    sentences: &'f Sentences<'_>,
    needed: &NeededSpans,
    rows: impl Iterator<Item = &'f [f32]>,
) -> Group {
    let own = rows.zip(&sentences.counts).filter(|(_, counts)| **counts).map(|(row, _)| row);
    Group::new(own, wanted(sentences, needed))
}

fn weighed(row: &[f32], weights: &[f64]) -> f32 {
    row.iter().zip(weights).map(|(value, weight)| f64::from(*value) * weight).sum::<f64>() as f32
}

impl Questions<'_> {
    /// How many there are, and of how many documents.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.all.len(), folds::count(self.documents()))
    }

    fn documents(&self) -> impl Iterator<Item = &str> + Clone {
        self.all.iter().map(|question| question.row.document.as_str())
    }

    /// The weights, and what they are worth.
    pub(super) fn fit(&self, work: &Work<'_>, compactor: &Compactor) -> Result<(Model, Part), AdaptError> {
        let folds = folds::folds(self.documents(), work.folds);
        let train = |items: &[usize], strength: Option<f64>| {
            work.cancel.check()?;
            let texts: Vec<&Question<'_>> = items.iter().filter_map(|item| self.all.get(*item)).collect();
            Ok::<_, AdaptError>(trained(&texts, strength))
        };
        let lost = |weights: &Weights, item: usize| {
            self.all.get(item).map_or(0.0, |question| question.loss(weights))
        };
        let tried = choice::tried(&folds, work.folds, train, lost)?;
        let scored: Vec<Scored> = self
            .all
            .iter()
            .zip(&folds)
            .filter_map(|(question, fold)| Some(question.scored(tried.held_out(&folds, *fold)?)))
            .collect();
        let built_in = Model::built_in();
        let by_fold: Vec<Compactor> = (0..work.folds)
            .filter_map(|fold| {
                let others = scored.iter().zip(&folds).filter(|(_, own)| **own != fold).map(|(text, _)| text);
                let calibration = calibrate(&others.collect::<Vec<_>>(), built_in.calibration);
                let model = written(tried.held_out(&folds, fold)?, calibration, line());
                Some(with(compactor, Adapted::new(Some(model), None, String::new())))
            })
            .collect();
        let as_built_in = Model { retention: line(), ..built_in.clone() };
        let as_built_in = with(compactor, Adapted::new(Some(as_built_in), None, String::new()));
        let subjects: Vec<Subject<'_>> =
            self.all.iter().zip(&folds).map(|(question, fold)| subject(question, *fold)).collect();
        let before = trial::tried(&subjects, &vec![as_built_in; work.folds], work.cancel)?;
        let after = trial::tried(&subjects, &by_fold, work.cancel)?;
        let best = tried.best(|_| true);
        let strength = STRENGTHS.get(best).copied().flatten();
        // What the file will hold is judged: where the built-in weights are the best, those, whatever some folds chose.
        let after = if strength.is_some() { after } else { before.clone() };
        let (taken, part) = verdict(&subjects, work.folds, &before, &after, &built_in.retention);
        let retention = taken.curve.unwrap_or_else(|| built_in.retention.clone());
        let model = if taken.weights {
            let weights = train(&(0..self.all.len()).collect::<Vec<_>>(), strength)?;
            written(&weights, calibrate(&scored.iter().collect::<Vec<_>>(), built_in.calibration), retention)
        } else {
            Model { retention, ..built_in.clone() }
        };
        let (items, documents) = self.count();
        let weights = if strength.is_some() { part.weights } else { Taken::BuiltIn };
        let part = Part { items, documents, strength, losses: tried.mean_losses(), weights, ..part };
        Ok((model, part))
    }
}

/// The curve of which the prediction is the mass.
fn line() -> Vec<[f32; 2]> {
    vec![[0.0; 2], [1.0; 2]]
}

fn subject<'q>(question: &'q Question<'_>, fold: usize) -> Subject<'q> {
    let request = CompactRequest::new(question.row.context.to_string(), Budget::Share(1.0));
    Subject {
        request: request.query(question.row.query.clone()),
        found: Box::new(|compaction| question.found(compaction)),
        document: &question.row.document,
        fold,
    }
}

fn wide(weights: &[f32]) -> Vec<f64> {
    weights.iter().map(|weight| f64::from(*weight)).collect()
}

/// The weights of least loss over the texts. Links go out from what scores best, so that scores and the weights of links
/// are found in turn.
fn trained(texts: &[&Question<'_>], strength: Option<f64>) -> Weights {
    let built_in = Model::built_in();
    let mut weights = Weights { first: wide(&built_in.first), second: wide(&built_in.second) };
    let Some(strength) = strength else { return weights };
    let groups: Vec<&Group> = texts.iter().map(|text| &text.group).collect();
    let ridge = Ridge { to: weights.first.clone(), scale: Ridge::scales(&groups), strength };
    weights.first = fit(&groups, &weights.first, &ridge);
    let mut scores: Vec<Vec<f32>> = texts.iter().map(|text| text.first(&weights.first)).collect();
    let prior = weights.second.clone();
    for _ in 0..built_in.hops {
        let linked: Vec<Group> = texts.iter().zip(&scores).map(|(text, score)| text.linked(score)).collect();
        let groups: Vec<&Group> = linked.iter().collect();
        let mut scale = Ridge::scales(&groups);
        // Too few texts have chains of identifiers to say what those count.
        if let Some(last) = scale.last_mut() {
            *last = f64::INFINITY;
        }
        weights.second = fit(&groups, &weights.second, &Ridge { to: prior.clone(), scale, strength });
        scores = texts.iter().zip(&scores).map(|(text, score)| text.second(score, &weights.second)).collect();
    }
    weights
}

/// The weights as a file has them.
fn written(weights: &Weights, calibration: [f32; 3], retention: Vec<[f32; 2]>) -> Model {
    let rounded = |weights: &[f64]| weights.iter().map(|w| ((w * 1e5).round() / 1e5 + 0.0) as f32).collect();
    Model {
        first: rounded(&weights.first),
        second: rounded(&weights.second),
        hops: Model::built_in().hops,
        calibration,
        retention,
    }
}
