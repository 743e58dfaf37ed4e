//! Arms: what each sends upstream in place of a request.

use std::{collections::HashMap, sync::Arc, time::Instant};

use epitome_compactor::Budget;
use epitome_text::tokens::TokenCounter;
use epitome_work::{Cancel, Stopped};

use super::{
    lines,
    message::{self, Message, Store},
};
use crate::{
    config,
    originals::Originals,
    plan::RequestOverrides,
    rewrite::{self, Asked, Effort, account::Account, pipeline::Compact},
    wire::{conversation::Role, dialect::Dialect},
};

/// The arm that is measured.
pub const EPITOME: &str = "epitome";
/// The arm that the others are compared with.
pub const UNTOUCHED: &str = "untouched";
/// Baselines that keep as much of each text as epitome does.
pub const SAME_SIZE: [&str; 2] = [HEAD_TAIL, RANDOM];

const NO_EVIDENCE: &str = "no evidence";
const PER_REQUEST: &str = "per request";
const HEAD_TAIL: &str = "head and tail";
const RANDOM: &str = "random lines";
const MASKING: &str = "masking";

/// All arms, in the order of a report.
pub const ALL: [&str; 7] = [UNTOUCHED, MASKING, EPITOME, NO_EVIDENCE, HEAD_TAIL, RANDOM, PER_REQUEST];

/// How many of the last tool results masking leaves whole. Lindenbauer et al., The Complexity Trap (arXiv 2508.21433),
/// take 10 for software agents.
const MASKS: [usize; 2] = [2, 10];

/// Most words of the human wording that the per-request arm ranks for.
const WORDS: usize = 120;

/// Arms that are played together, because some take their sizes from others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Group {
    /// Untouched, and masking.
    Plain,
    /// Epitome with and without evidence, and baselines of the same sizes.
    Sized(Budget),
    /// One query for all texts of a request: the last human wording.
    PerRequest(Budget),
}

/// An arm at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) arm: &'static str,
    /// Empty for an arm without a size.
    pub(super) size: String,
}

/// What an arm sends.
pub(super) struct Sent {
    pub(super) messages: Vec<Arc<Message>>,
    /// How long it took, if that is a measure of the arm.
    pub(super) ms: Option<f64>,
    /// Where the pipeline was run.
    pub(super) account: Option<Account>,
    /// The originals of what was made shorter, if they are kept.
    pub(super) originals: Option<Originals>,
}

impl Group {
    /// All groups, for these sizes.
    pub fn all(sizes: &[Budget]) -> Vec<Self> {
        let sized = sizes.iter().flat_map(|size| [Group::Sized(*size), Group::PerRequest(*size)]);
        [Group::Plain].into_iter().chain(sized).collect()
    }

    /// Its name in the results file.
    pub fn name(self) -> String {
        match self {
            Group::Plain => "plain".into(),
            Group::Sized(size) => format!("sized {size}"),
            Group::PerRequest(size) => format!("{PER_REQUEST} {size}"),
        }
    }

    /// Its arms.
    pub(super) fn arms(self) -> Vec<Name> {
        let name = |arm, size: String| Name { arm, size };
        match self {
            Group::Plain => {
                let masks = MASKS.iter().map(|last| name(MASKING, format!("last {last}")));
                [name(UNTOUCHED, String::new())].into_iter().chain(masks).collect()
            }
            Group::Sized(size) => {
                [EPITOME, NO_EVIDENCE, HEAD_TAIL, RANDOM].map(|arm| name(arm, size.to_string())).into()
            }
            Group::PerRequest(size) => vec![name(PER_REQUEST, size.to_string())],
        }
    }
}

/// Plays the arms of a group over one session.
pub(super) struct Player<'a> {
    pub(super) group: Group,
    pub(super) pipeline: &'a dyn Compact,
    pub(super) plan: &'a config::Plan,
    pub(super) counter: Arc<dyn TokenCounter>,
    pub(super) seed: u64,
    pub(super) cancel: &'a Cancel,
    /// What a baseline made of a message, by its name and the addresses of the message and of its model.
    pub(super) made: HashMap<(&'static str, usize, usize), Arc<Message>>,
}

impl Player<'_> {
    /// What each arm sends for a request, in the order of [`Group::arms`].
    pub(super) fn send(
        &mut self,
        original: &[Arc<Message>],
        store: &mut Store,
    ) -> Result<Vec<Sent>, Stopped> {
        self.cancel.check()?;
        let plain = |messages| Sent { messages, ms: None, account: None, originals: None };
        match self.group {
            Group::Plain => {
                let masked = MASKS.map(|last| plain(self.masked(original, last, store)));
                Ok([plain(original.to_vec())].into_iter().chain(masked).collect())
            }
            Group::Sized(size) => {
                let overrides = RequestOverrides { query: None, budget: Some(size) };
                let epitome = self.rewritten(original, self.plan, &overrides, store)?;
                let without = config::Plan { evidence_tokens: 0, ..self.plan.clone() };
                // All of it is known, so its time says nothing.
                let no_evidence = Sent { ms: None, ..self.rewritten(original, &without, &overrides, store)? };
                let ends = self.alike(HEAD_TAIL, original, &no_evidence.messages, store);
                let random = self.alike(RANDOM, original, &no_evidence.messages, store);
                Ok(vec![epitome, no_evidence, plain(ends), plain(random)])
            }
            Group::PerRequest(size) => {
                let overrides = RequestOverrides { query: last_wording(original), budget: Some(size) };
                let without = config::Plan { evidence_tokens: 0, ..self.plan.clone() };
                Ok(vec![self.rewritten(original, &without, &overrides, store)?])
            }
        }
    }

    fn rewritten(
        &self,
        original: &[Arc<Message>],
        plan: &config::Plan,
        overrides: &RequestOverrides,
        store: &mut Store,
    ) -> Result<Sent, Stopped> {
        let body = message::body(original);
        let asked = Asked { dialect: Dialect::Chat, body: &body, overrides, counts: false };
        let start = Instant::now();
        let rewrite = rewrite::rewrite(self.pipeline, plan, asked, Effort::Compact, self.cancel);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        self.cancel.check()?;
        let messages = rewrite.body.and_then(|body| store.messages(&body));
        let messages = messages.filter(|messages| messages.len() == original.len());
        Ok(Sent {
            messages: messages.unwrap_or_else(|| original.to_vec()),
            ms: Some((ms * 100.0).round() / 100.0),
            account: Some(rewrite.account),
            originals: self.pipeline.originals().filter(|_| plan.originals),
        })
    }

    /// Each text that `model` made shorter, made as short by a baseline.
    fn alike(
        &mut self,
        arm: &'static str,
        original: &[Arc<Message>],
        model: &[Arc<Message>],
        store: &mut Store,
    ) -> Vec<Arc<Message>> {
        let pairs = original.iter().zip(model);
        pairs
            .map(|(own, model)| {
                if Arc::ptr_eq(own, model) {
                    return own.clone();
                }
                let key = (arm, address(own), address(model));
                if let Some(made) = self.made.get(&key) {
                    return made.clone();
                }
                let counter = self.counter.as_ref();
                let texts =
                    own.texts.iter().zip(&model.texts).enumerate().filter_map(|(at, (text, model))| {
                        let tokens = counter.count(model);
                        (tokens < counter.count(text)).then(|| {
                            let new = match arm {
                                HEAD_TAIL => lines::head_tail(text, tokens, counter),
                                _ => lines::random(text, tokens, self.seed, counter),
                            };
                            (at, new)
                        })
                    });
                let made = store.with_texts(own, texts.collect());
                self.made.insert(key, made.clone());
                made
            })
            .collect()
    }

    /// A placeholder for each tool result but the `last` ones.
    fn masked(&mut self, original: &[Arc<Message>], last: usize, store: &mut Store) -> Vec<Arc<Message>> {
        let results = original.iter().filter(|message| message.role == Role::Tool).count();
        let mut old = results.saturating_sub(last);
        let masked = original.iter().map(|own| {
            if own.role != Role::Tool || old == 0 {
                return own.clone();
            }
            old -= 1;
            let key = (MASKING, address(own), 0);
            let made = self.made.entry(key).or_insert_with(|| {
                let texts = own.texts.iter().map(|text| lines::placeholder(text)).enumerate();
                let masked = store.with_texts(own, texts.collect());
                if masked.tokens < own.tokens { masked } else { own.clone() }
            });
            made.clone()
        });
        masked.collect()
    }
}

/// Messages are kept by the store, so that their addresses tell them apart.
fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}

/// The last words that a person wrote.
fn last_wording(messages: &[Arc<Message>]) -> Option<String> {
    let said = messages.iter().rev().filter(|message| message.role == Role::User);
    said.map(|message| message.texts.join("\n"))
        .find(|text| text.chars().any(char::is_alphanumeric))
        .map(|text| text.split_whitespace().take(WORDS).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use epitome_compactor::{CompactError, CompactRequest, Compaction};

    use super::{super::message::tests::Words, *};

    /// Arms without the pipeline never call it.
    struct None;

    impl Compact for None {
        fn counter(&self, _: Option<&str>) -> Arc<dyn TokenCounter> {
            Arc::new(Words)
        }

        fn warm_up(&self) -> Result<(), CompactError> {
            Ok(())
        }

        fn compact(&self, _: &CompactRequest, _: &Cancel) -> Result<Compaction, CompactError> {
            unreachable!()
        }
    }

    #[test]
    fn masking_leaves_the_last_results_whole() {
        let mut store = Store::new(Arc::new(Words));
        let result =
            |n: usize| format!("{{\"role\":\"tool\",\"content\":\"{}\"}}", format!("word {n} ").repeat(20));
        let mut raws = vec!["{\"role\":\"user\",\"content\":\"go\"}".to_owned()];
        raws.extend((0..4).map(result));
        let original: Vec<_> = raws.iter().map(|raw| store.message(raw)).collect();
        let (plan, cancel) = (config::Plan::default(), Cancel::never());
        let mut player = Player {
            group: Group::Plain,
            pipeline: &None,
            plan: &plan,
            counter: Arc::new(Words),
            seed: 0,
            cancel: &cancel,
            made: HashMap::new(),
        };
        let sent = player.send(&original, &mut store).unwrap();
        let same = |at: usize| -> Vec<bool> {
            original.iter().zip(&sent[at].messages).map(|(one, other)| Arc::ptr_eq(one, other)).collect()
        };
        assert_eq!(same(0), [true; 5]);
        assert_eq!(same(1), [true, false, false, true, true]);
        assert_eq!(same(2), [true; 5]);
        assert_eq!(sent[1].messages[1].texts, ["[Tool result of 1 lines left out]"]);
        let arms: Vec<_> = Group::Plain.arms().into_iter().map(|name| name.size).collect();
        assert_eq!(arms, ["", "last 2", "last 10"]);
        assert_eq!(last_wording(&original).as_deref(), Some("go"));
    }

    #[test]
    fn baselines_are_as_short_as_their_model() {
        let mut store = Store::new(Arc::new(Words));
        let lines: String = (0..20).map(|n| format!("line {n}\\n")).collect();
        let own = store.message(&format!("{{\"role\":\"tool\",\"content\":\"{lines}\"}}"));
        let model = store.with_texts(&own, vec![(0, "x ".repeat(12))]);
        let (plan, cancel) = (config::Plan::default(), Cancel::never());
        let mut player = Player {
            group: Group::Plain,
            pipeline: &None,
            plan: &plan,
            counter: Arc::new(Words),
            seed: 0,
            cancel: &cancel,
            made: HashMap::new(),
        };
        let (own, model) = ([own], [model]);
        for arm in SAME_SIZE {
            let made = player.alike(arm, &own, &model, &mut store);
            assert_eq!(made[0].tokens, model[0].tokens, "{arm}");
            assert!(Arc::ptr_eq(&made[0], &player.alike(arm, &own, &model, &mut store)[0]));
        }
    }
}
