//! The running totals over the texts of a request, and what they come to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use epitome_compactor::{
    Compaction,
    compaction::{Evidence, Figures, Outcome, PassReason},
};
use epitome_text::tokens::TokenCounter;

use super::account::{Account, Decision, Verdict};
use crate::{
    config,
    originals::{Original, Originals, marker},
    plan::{Plan, query::QuerySource},
    telemetry,
    wire::{json::Replacement, literal::Form},
};

/// A text to be compacted, or a piece of one.
pub(super) struct Part {
    /// Index of the text in the request.
    pub(super) group: usize,
    /// The bytes of the body that it takes.
    pub(super) range: Range<usize>,
    /// How the string there holds its text.
    pub(super) form: Form,
    /// Its tokens.
    pub(super) before: usize,
    /// Where evidence from it is from.
    pub(super) label: String,
    /// Where its query was found.
    pub(super) source: QuerySource,
    /// The text, whole.
    pub(super) original: Arc<Original>,
}

/// The totals so far.
pub(super) struct Tally {
    floor: f64,
    /// Most tokens of evidence for one question.
    evidence_tokens: usize,
    ageing: u8,
    /// Tokens of all pieces, before and after.
    tokens: (usize, usize),
    texts: usize,
    query_from: Vec<&'static str>,
    /// Why the first failed text failed, and why the first passed text was passed.
    failed: Option<&'static str>,
    passed: Option<&'static str>,
    cache: (usize, usize),
    /// Over all texts; `None` if it is unknown for any of them.
    joules: Option<f64>,
    made: Vec<Made>,
    /// The text and the tokens of each piece that goes whole.
    whole: Vec<(usize, usize)>,
    evidence: Vec<Offered>,
    decisions: Vec<Decision>,
}

/// A piece that was compacted.
struct Made {
    group: usize,
    range: Range<usize>,
    form: Form,
    /// Tokens before compaction.
    before: usize,
    original: Arc<Original>,
    text: String,
    figures: Figures,
    /// Index of its decision.
    decision: usize,
}

/// What a text offers to a later question.
struct Offered {
    group: usize,
    /// Offset in the body at which the question's evidence is inserted.
    slot: usize,
    label: String,
    evidence: Evidence,
}

impl Tally {
    pub(super) fn new(plan: &Plan, config: &config::Plan) -> Self {
        let mut query_from: Vec<&'static str> = Vec::new();
        for source in plan.targets.iter().map(|target| target.source().as_str()) {
            if !query_from.contains(&source) {
                query_from.push(source);
            }
        }
        query_from.iter().for_each(|source| telemetry::query_from(source));
        Self {
            floor: config.floor,
            evidence_tokens: config.evidence_tokens,
            ageing: plan.ageing,
            tokens: (plan.tokens, 0),
            texts: plan.targets.len(),
            query_from,
            failed: None,
            passed: None,
            cache: (0, 0),
            joules: Some(0.0),
            made: Vec::new(),
            whole: Vec::new(),
            evidence: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// Adds a decision. `slots` are where the evidence for each later question goes.
    pub(super) fn add(&mut self, part: Part, slots: &[usize], compaction: Compaction) {
        let Part { group, range, form, before, label, source, original } = part;
        let figures = compaction.figures;
        telemetry::energy(&figures);
        self.joules = self.joules.zip(figures.joules).map(|(all, one)| all + one);
        self.cache.0 += figures.cache_hits;
        self.cache.1 += figures.cache_lookups;
        let (after, reason) = match compaction.outcome {
            Outcome::Compacted => (figures.tokens_after, ""),
            Outcome::Passed(reason) => (before, reason.as_str()),
        };
        self.tokens.1 += after;
        let kind = figures.kind.to_string();
        let name = original.id().to_string();
        let decision = Decision { id: name, kind, query_from: source.as_str(), before, after, reason };
        self.decisions.push(decision);
        if !reason.is_empty() {
            self.passed = self.passed.or(Some(reason));
            self.whole.push((group, before));
            return;
        }
        let evidence =
            slots.iter().zip(compaction.evidence).filter(|(_, evidence)| !evidence.text.is_empty());
        self.evidence.extend(evidence.map(|(slot, evidence)| Offered {
            group,
            slot: *slot,
            label: label.clone(),
            evidence,
        }));
        let decision = self.decisions.len() - 1;
        let text = compaction.text;
        self.made.push(Made { group, range, form, before, original, text, figures, decision });
    }

    /// Adds a text that goes whole because it could not be compacted.
    pub(super) fn fail(&mut self, part: Part, reason: &'static str) {
        let Part { group, before, source, original, .. } = part;
        self.whole.push((group, before));
        self.tokens.1 += before;
        self.joules = None;
        self.failed = self.failed.or(Some(reason));
        let (query_from, kind, id) = (source.as_str(), String::new(), original.id().to_string());
        self.decisions.push(Decision { id, kind, query_from, before, after: before, reason });
    }

    /// The account if all texts go upstream unchanged.
    pub(super) fn untouched(self) -> Account {
        Account {
            tokens: Some((self.tokens.0, self.tokens.0)),
            query_from: self.query_from,
            ..Account::passed("")
        }
    }

    /// Leaves a text uncompacted if its predicted retention over all pieces is below the floor: each piece
    /// was only checked on its own share.
    fn enforce_floor(&mut self) {
        let mut groups: Vec<usize> = self.made.iter().map(|made| made.group).collect();
        groups.dedup();
        for group in groups {
            let own = || self.made.iter().filter(|made| made.group == group);
            let whole = || self.whole.iter().filter(|(of, _)| *of == group);
            let passed: usize = whole().map(|(_, tokens)| tokens).sum();
            let tokens: usize = own().map(|made| made.before).sum();
            let kept =
                own().map(|made| Some(made.figures.retention? * made.before as f64)).sum::<Option<f64>>();
            let least = self.floor * (tokens + passed) as f64;
            let low = kept.is_some_and(|kept| kept + (passed as f64) < least);
            if own().count() + whole().count() > 1 && low {
                let low = PassReason::LowRetention.as_str();
                let after: usize = own().map(|made| made.figures.tokens_after).sum();
                self.tokens.1 += tokens.saturating_sub(after);
                self.passed = self.passed.or(Some(low));
                for made in self.made.extract_if(.., |made| made.group == group) {
                    let decision = &mut self.decisions[made.decision];
                    (decision.after, decision.reason) = (decision.before, low);
                }
                self.evidence.retain(|offered| offered.group != group);
            }
        }
    }

    /// The evidence of each question, by where it is inserted: of what is offered, what is needed most, in the order of
    /// the texts.
    fn brought(&mut self) -> Vec<Replacement> {
        let mut slots: BTreeMap<usize, Vec<Offered>> = BTreeMap::new();
        for offered in self.evidence.drain(..) {
            slots.entry(offered.slot).or_default().push(offered);
        }
        let mut known: HashSet<(usize, String)> = HashSet::new();
        let mut replacements = Vec::new();
        for (slot, mut offered) in slots {
            // What an earlier question brought stands there already.
            offered.retain(|one| !known.contains(&(one.group, one.evidence.text.clone())));
            offered.sort_by(|a, b| b.evidence.score.total_cmp(&a.evidence.score).then(b.group.cmp(&a.group)));
            let mut left = self.evidence_tokens;
            offered.retain(|one| {
                let fits = one.evidence.tokens <= left;
                left -= if fits { one.evidence.tokens } else { 0 };
                fits
            });
            offered.sort_by_key(|one| one.group);
            let texts: Vec<String> = offered
                .iter()
                .map(|one| format!("[from {}, left out above:]\n{}\n\n", one.label, one.evidence.text))
                .collect();
            known.extend(offered.into_iter().map(|one| (one.group, one.evidence.text)));
            if !texts.is_empty() {
                replacements.push(Replacement { range: slot..slot, text: texts.concat() });
            }
        }
        replacements
    }

    /// Keeps the originals of what was compacted, and says behind the last piece of each text how much of the text is
    /// shown and how to get the rest.
    pub(super) fn mark(&mut self, originals: &Originals, counter: &dyn TokenCounter) {
        self.enforce_floor();
        let mut whole: HashMap<usize, usize> = HashMap::new();
        for (group, tokens) in &self.whole {
            *whole.entry(*group).or_default() += tokens;
        }
        for pieces in self.made.chunk_by_mut(|one, next| one.group == next.group) {
            let passed =
                pieces.first().and_then(|first| whole.get(&first.group)).copied().unwrap_or_default();
            let before = passed + pieces.iter().map(|made| made.before).sum::<usize>();
            let shown = passed + pieces.iter().map(|made| made.figures.tokens_after).sum::<usize>();
            let Some(last) = pieces.last_mut() else { continue };
            let mark = marker::of_rest(&last.text, &last.figures.kind, shown, before, last.original.id());
            let mark = mark.unwrap_or_default();
            let tokens = counter.count(&mark);
            originals.offer(&last.original);
            // It must not take most of what the compaction saves.
            if before.saturating_sub(shown) < 2 * tokens {
                continue;
            }
            last.text.push_str(&mark);
            last.figures.tokens_after += tokens;
            last.figures.ratio = last.before as f64 / last.figures.tokens_after.max(1) as f64;
            self.tokens.1 += tokens;
            self.decisions[last.decision].after += tokens;
        }
    }

    /// The account, what goes into the body, and the figures of what was compacted.
    pub(super) fn account(mut self, counter: &dyn TokenCounter) -> (Account, Vec<Replacement>, Vec<Figures>) {
        self.enforce_floor();
        let mut replacements = self.brought();
        let evidence = replacements.iter().map(|one| counter.count(&one.text)).sum();
        self.tokens.1 += evidence;
        let compacted = self.made.len();
        let retentions = self.made.iter().map(|made| made.figures.retention);
        let retention = retentions.reduce(|a, b| a.zip(b).map(|(a, b)| f64::min(a, b))).flatten();
        let (verdict, reason) = match (compacted, self.failed) {
            (0, Some(reason)) => (Verdict::FailedOpen, reason),
            (0, None) => (Verdict::Passed, self.passed.unwrap_or_default()),
            (_, Some(reason)) => (Verdict::Partial, reason),
            (_, None) => (Verdict::Compacted, ""),
        };
        let account = Account {
            verdict,
            reason,
            texts: Some((compacted, self.texts)),
            evidence: Some(evidence).filter(|tokens| *tokens > 0),
            query_from: self.query_from,
            tokens: Some(self.tokens),
            cache: Some(self.cache),
            retention,
            joules: self.joules,
            ageing: self.ageing,
            decisions: self.decisions,
            ..Account::passed("")
        };
        let mut figures = Vec::with_capacity(compacted);
        for made in self.made {
            replacements.push(Replacement { range: made.range, text: made.form.write(made.text) });
            figures.push(made.figures);
        }
        (account, replacements, figures)
    }
}
