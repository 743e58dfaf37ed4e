//! What was decided for a text, by its content: a text that comes again with the same query and budget costs a look-up.
//!
//! A text that went upstream whole, because a model was busy or time was up, goes whole again for as long as an upstream
//! keeps a prefix in its cache. Otherwise the next request would change what the last one sent.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Compactor, millis, passed};
use crate::{
    cache::{Cache, Key, KeyParts},
    compaction::{
        CompactRequest, Compaction, Evidence, Figures, Later, Outcome, PassReason, Piece, StageTimes,
    },
};

/// A decision is dated anew when it is used after this part of its life, as a divisor.
const RENEWED: u64 = 8;

/// What is known of one text, for one query and budget.
pub(super) struct Memory<'a> {
    cache: &'a Cache,
    /// What is asked of which text. That it went whole is so whatever the models are.
    asked: Key,
    /// The same with the models and the configuration that decide it; `None` as long as no models are there.
    decided: Option<Key>,
    /// How long a text that went whole goes whole again, in seconds.
    whole_s: u64,
    /// Whether to look at what went whole is a use, from which on the time counts anew.
    renews: bool,
}

/// A compaction without what is in the request.
#[derive(Serialize, Deserialize)]
struct Saved {
    outcome: Outcome,
    /// Empty if the text passed.
    text: String,
    pieces: Vec<Piece>,
    figures: Figures,
}

impl Memory<'_> {
    /// The same for who only looks: nothing that is asked of it is a use.
    pub(super) fn unused(self) -> Self {
        Self { renews: false, ..self }
    }

    /// What was brought for a later question.
    pub(super) fn evidence(&self, later: &Later) -> Option<Evidence> {
        if self.was_missed(&evidence_key(&self.asked, later)) {
            return Some(Evidence::default());
        }
        self.get(&evidence_key(self.decided.as_ref()?, later))
    }

    /// Remembers what is brought for a later question.
    pub(super) fn keep_evidence(&self, later: &Later, evidence: &Evidence) {
        if let Some(decided) = &self.decided {
            self.put(&evidence_key(decided, later), evidence);
        }
    }

    /// Remembers that there was no time to look for what a later question needs.
    pub(super) fn miss_evidence(&self, later: &Later) {
        self.miss(&evidence_key(&self.asked, later));
    }

    /// What was decided for the text: that it goes whole, or what was made of it.
    pub(super) fn compaction(&self, request: &CompactRequest) -> Option<Compaction> {
        if self.was_missed(&self.asked) {
            return Some(sent_whole(request));
        }
        self.made(request)
    }

    /// What was made of the text.
    pub(super) fn made(&self, request: &CompactRequest) -> Option<Compaction> {
        let started = Instant::now();
        let Saved { outcome, text, pieces, mut figures } = self.get(self.decided.as_ref()?)?;
        (figures.cache_hits, figures.summary_nodes_new) = (figures.cache_lookups, 0);
        figures.recalled = true;
        figures.millis = StageTimes { total: millis(started), ..StageTimes::default() };
        let text = if outcome == Outcome::Compacted { text } else { request.text.clone() };
        Some(Compaction { outcome, text, pieces, figures, evidence: Vec::new(), explain: None })
    }

    /// Remembers what is decided for the text.
    pub(super) fn keep(&self, compaction: &Compaction) {
        let Some(decided) = &self.decided else { return };
        let compacted = compaction.outcome == Outcome::Compacted;
        let saved = Saved {
            outcome: compaction.outcome.clone(),
            text: if compacted { compaction.text.clone() } else { String::new() },
            pieces: if compacted { compaction.pieces.clone() } else { Vec::new() },
            figures: Figures {
                joules: None,
                joules_per_1000_tokens: None,
                co2_grams: None,
                ..compaction.figures.clone()
            },
        };
        self.put(decided, &saved);
    }

    /// Whether there was no time for the text.
    pub(super) fn has_missed_text(&self) -> bool {
        self.was_missed(&self.asked)
    }

    /// Remembers that there was no time for the text.
    pub(super) fn miss_text(&self) {
        self.miss(&self.asked);
    }

    fn miss(&self, key: &Key) {
        if self.whole_s > 0 {
            self.put(&missed_key(key), &now());
        }
    }

    fn was_missed(&self, key: &Key) -> bool {
        if self.whole_s == 0 {
            return false;
        }
        let Some(then) = self.get::<u64>(&missed_key(key)) else { return false };
        let age = now().saturating_sub(then);
        // A use is noted only after this part of the time.
        let whole_s = self.whole_s.saturating_add(self.whole_s / RENEWED);
        // An upstream's cache lives on with each use, too.
        if self.renews && age < whole_s && age > self.whole_s / RENEWED {
            self.miss(key);
        }
        age < whole_s
    }

    fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        serde_json::from_slice(&self.cache.get(key)?).ok()
    }

    fn put<T: Serialize>(&self, key: &Key, value: &T) {
        if let Ok(bytes) = serde_json::to_vec(value) {
            self.cache.put(key, bytes);
        }
    }
}

/// A key made from another one.
fn derived(stage: &str, from: &Key, params: &[u8]) -> Key {
    Key::from(&KeyParts { stage, segment: from.as_bytes(), model: "", template: "", params })
}

fn evidence_key(of: &Key, later: &Later) -> Key {
    derived("evidence-1", of, format!("{} {}", later.tokens, later.query).as_bytes())
}

/// Where the time stands at which there was no time for what `key` names.
fn missed_key(key: &Key) -> Key {
    derived("missed-1", key, b"")
}

impl Compactor {
    /// The memory of a text, with the models of this identity if they are known; `None` if nothing is kept.
    pub(super) fn memory(&self, request: &CompactRequest, identity: Option<String>) -> Option<Memory<'_>> {
        if request.explain || !self.cache.is_enabled() {
            return None;
        }
        // Destructured, so that a new field does not compile until it is hashed.
        let CompactRequest { text, query, budget, model, explain: _, origin, pinned, part, later: _, call } =
            request;
        let counter = self.counter(model.as_deref());
        let pinned: Vec<[usize; 2]> = pinned.iter().map(|range| [range.start, range.end]).collect();
        let origin = (&origin.call, &origin.file, &origin.media_type, origin.called);
        let params = (query.as_deref().map(str::trim), budget, counter.name(), origin, pinned, part, call);
        let params = serde_json::to_vec(&params).ok()?;
        let asked = Key::from(&KeyParts {
            stage: "asked-1",
            segment: text.as_bytes(),
            model: "",
            template: "",
            params: &params,
        });
        let decided = identity.map(|identity| derived("compaction-4", &asked, identity.as_bytes()));
        Some(Memory { cache: &self.cache, asked, decided, whole_s: self.config.whole_s, renews: true })
    }
}

/// The text as it is, because it went so before.
pub(super) fn sent_whole(request: &CompactRequest) -> Compaction {
    passed(&request.text, PassReason::SentWhole, Figures::default(), Instant::now())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
