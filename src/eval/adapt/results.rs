//! Results of tools in recorded sessions: which lines the agent used later, by their features.

use std::collections::{BTreeMap, BTreeSet};

use epitome_compactor::{
    Budget, CompactRequest, Compaction, Compactor,
    internals::{Adapted, Fit},
};

use super::{
    AdaptError, LeftOut, Work,
    choice::{self, STRENGTHS},
    folds,
    loss::{Group, Ridge, Wanted, fit},
    shown,
    trial::{self, Subject},
    verdict::{Part, Taken, verdict},
    with,
};
use crate::{
    config::Config,
    eval::replay::session::Session,
    plan::{self, RequestOverrides, Target},
    wire::{conversation::Conversation, dialect::Dialect},
};

/// Results of fewer tokens, or of no more lines, are not looked at.
const TOKENS: usize = 500;
const LINES: usize = 8;

/// A result of a tool of which something was used later.
struct Used {
    session: String,
    request: CompactRequest,
    /// The strings that were used.
    strings: Vec<String>,
    group: Group,
}

/// All results.
pub(super) struct Results {
    all: Vec<Used>,
}

/// Reads the sessions as the proxy would, and leaves out results that say nothing.
pub(super) fn collect(
    work: &Work<'_>,
    config: &Config,
    compactor: &Compactor,
    left_out: &mut LeftOut,
) -> Result<Results, AdaptError> {
    let told: Vec<&Session> = work.data.sessions.iter().filter(|session| session.needed.is_some()).collect();
    left_out.sessions_without_needed = work.data.sessions.len() - told.len();
    let mut config = config.plan.clone();
    (config.min_tokens, config.window_tokens, config.originals) = (TOKENS, 0, false);
    let found = shown("sessions read", &told, |session| {
        work.cancel.check()?;
        of_session(session, &config, compactor, work, left_out)
    })?;
    Ok(Results { all: found.into_iter().flatten().collect() })
}

/// The results of a session of which something was used that stood nowhere else.
fn of_session(
    session: &Session,
    config: &crate::config::Plan,
    compactor: &Compactor,
    work: &Work<'_>,
    left_out: &mut LeftOut,
) -> Result<Vec<Used>, AdaptError> {
    let mut strings: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for needed in session.needed.iter().flatten().filter(|needed| !needed.elsewhere_between) {
        strings.entry(needed.message_index).or_default().push(needed.text.clone());
    }
    if strings.is_empty() {
        left_out.sessions_without_needed += 1;
    }
    let body = format!("{{\"messages\":[{}]}}", session.messages.join(","));
    let Ok(conversation) = Dialect::Chat.read(body.as_bytes()) else { return Ok(Vec::new()) };
    let counter = compactor.counter(None);
    let overrides = RequestOverrides { query: None, budget: Some(Budget::Share(0.5)) };
    // What is planned for a text depends on what stands before it alone.
    let plan = plan::plan(&conversation, config, counter.as_ref(), &overrides, work.cancel);
    work.cancel.check()?;
    let targets = plan.map(|plan| plan.targets).unwrap_or_default();
    let (mut used, mut told) = (Vec::new(), BTreeSet::new());
    for target in targets {
        let Some((at, strings)) =
            message_of(&conversation, &target).and_then(|at| strings.get_key_value(&at))
        else {
            continue;
        };
        if let Some(made) = used_of(session, target, strings.clone(), compactor, work)? {
            told.insert(*at);
            used.push(made);
        }
    }
    left_out.results += strings.len() - told.len();
    Ok(used)
}

/// The message that a target is in.
fn message_of(conversation: &Conversation<'_>, target: &Target) -> Option<usize> {
    conversation.messages.iter().position(|message| {
        message.texts.iter().any(|text| {
            let start = text.literal.start();
            start <= target.range.start && target.range.end <= start + text.literal.max_len()
        })
    })
}

/// `None` if the lines of the result are not ranked for its call, or no line holds a string.
fn used_of(
    session: &Session,
    target: Target,
    mut strings: Vec<String>,
    compactor: &Compactor,
    work: &Work<'_>,
) -> Result<Option<Used>, AdaptError> {
    let request = CompactRequest {
        query: target.query.map(|query| query.text),
        origin: target.origin,
        pinned: target.pinned,
        part: target.part,
        call: target.call,
        ..CompactRequest::new(target.text, Budget::Share(1.0))
    };
    let Some(rows) = compactor.lines(&request, work.cancel)? else { return Ok(None) };
    let lines: Vec<&str> = request.text.split('\n').collect();
    let mut shares = vec![0.0; rows.len()];
    strings.retain(|string| lines.iter().any(|line| line.contains(string.as_str())));
    for string in &strings {
        let holds: Vec<bool> = lines.iter().map(|line| line.contains(string.as_str())).collect();
        let count = holds.iter().filter(|holds| **holds).count() * strings.len();
        for (share, _) in shares.iter_mut().zip(&holds).filter(|(_, holds)| **holds) {
            *share += 1.0 / count as f64;
        }
    }
    if strings.is_empty() || rows.len() <= LINES {
        return Ok(None);
    }
    let group = Group::new(rows.iter().map(Vec::as_slice), Wanted::Shares(shares));
    Ok(Some(Used { session: session.id.clone(), request, strings, group }))
}

impl Used {
    /// The share of the strings that a compaction holds.
    fn found(&self, compaction: &Compaction) -> f64 {
        let held = self.strings.iter().filter(|string| compaction.text.contains(string.as_str())).count();
        held as f64 / self.strings.len().max(1) as f64
    }
}

/// The weights of the features, and then that of the trees.
type Weights = Vec<f64>;

impl Results {
    /// How many there are, and of how many sessions.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.all.len(), folds::count(self.sessions()))
    }

    fn sessions(&self) -> impl Iterator<Item = &str> + Clone {
        self.all.iter().map(|used| used.session.as_str())
    }

    /// The weights, and what they are worth.
    pub(super) fn fit(&self, work: &Work<'_>, compactor: &Compactor) -> Result<(Fit, Part), AdaptError> {
        let folds = folds::folds(self.sessions(), work.folds);
        let train = |items: &[usize], strength: Option<f64>| {
            work.cancel.check()?;
            let groups: Vec<&Group> =
                items.iter().filter_map(|item| self.all.get(*item)).map(|used| &used.group).collect();
            Ok::<_, AdaptError>(trained(&groups, strength))
        };
        let lost =
            |weights: &Weights, item: usize| self.all.get(item).map_or(0.0, |used| used.group.loss(weights));
        let tried = choice::tried(&folds, work.folds, train, lost)?;
        let built_in = Fit::built_in();
        let as_fitted = |fit| with(compactor, Adapted::new(None, Some(fit), String::new()));
        let by_fold: Vec<Compactor> = (0..work.folds)
            .filter_map(|fold| {
                Some(as_fitted(written(tried.held_out(&folds, fold)?, built_in.retention.clone())))
            })
            .collect();
        let subjects: Vec<Subject<'_>> = self
            .all
            .iter()
            .zip(&folds)
            .map(|(used, fold)| Subject {
                request: used.request.clone(),
                found: Box::new(|compaction| used.found(compaction)),
                document: &used.session,
                fold: *fold,
            })
            .collect();
        let before = trial::tried(&subjects, &vec![as_fitted(built_in.clone()); work.folds], work.cancel)?;
        let after = trial::tried(&subjects, &by_fold, work.cancel)?;
        let best = tried.best(|_| true);
        let strength = STRENGTHS.get(best).copied().flatten();
        // What the file will hold is judged: where the built-in weights are the best, those, whatever some folds chose.
        let after = if strength.is_some() { after } else { before.clone() };
        let (taken, part) = verdict(&subjects, work.folds, &before, &after, &built_in.retention);
        let retention = taken.curve.unwrap_or_else(|| built_in.retention.clone());
        let fit = if taken.weights {
            written(&train(&(0..self.all.len()).collect::<Vec<_>>(), strength)?, retention)
        } else {
            Fit { retention, ..built_in }
        };
        let (items, documents) = self.count();
        let weights = if strength.is_some() { part.weights } else { Taken::BuiltIn };
        let part = Part { items, documents, strength, losses: tried.mean_losses(), weights, ..part };
        Ok((fit, part))
    }
}

fn trained(groups: &[&Group], strength: Option<f64>) -> Weights {
    let Fit { weights, trees, .. } = Fit::built_in();
    let prior: Weights = weights.into_iter().chain([trees]).map(f64::from).collect();
    let Some(strength) = strength else { return prior };
    let ridge = Ridge { to: prior.clone(), scale: Ridge::scales(groups), strength };
    fit(groups, &prior, &ridge)
}

/// The weights as a file has them.
fn written(weights: &[f64], retention: Vec<[f32; 2]>) -> Fit {
    let rounded = |weight: &f64| ((weight * 1e6).round() / 1e6 + 0.0) as f32;
    let (trees, own) = weights.split_last().map_or((1.0, &[][..]), |(trees, own)| (rounded(trees), own));
    Fit { weights: own.iter().map(rounded).collect(), trees: trees.max(0.0), retention }
}
