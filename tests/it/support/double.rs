//! Pipelines that are slow, fail or panic, to test how the proxy reacts.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use epitome::rewrite::pipeline::Compact;
use epitome_compactor::{
    CompactError, CompactRequest, Compaction,
    compaction::{Figures, Outcome, PassReason},
};
use epitome_text::tokens::{TokenCounter, tiktoken};
use epitome_work::Cancel;

/// The double's result for every text.
pub const SHORT: &str = "the \"gist\"\n\\ of it: é😀";

/// How the double behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Every text becomes [`SHORT`].
    Shorten,
    /// Nothing comes out shorter.
    Pass,
    /// No budget is enough.
    TooSmall,
    /// No budget is enough for a text with these words in it; others become [`SHORT`].
    TooSmallWith(&'static str),
    /// It panics.
    Panic,
    /// It runs until it is cancelled.
    Endless,
    /// It ignores cancellation for 400 ms.
    Deaf,
}

pub struct Double {
    pub manner: Manner,
    /// The requests so far.
    pub asked: Mutex<Vec<CompactRequest>>,
    /// Number of compactions that were cancelled.
    pub stopped: Mutex<usize>,
}

impl Double {
    pub fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self { manner, asked: Mutex::default(), stopped: Mutex::default() })
    }

    pub fn last(&self) -> CompactRequest {
        self.asked.lock().unwrap().last().expect("nothing was asked").clone()
    }

    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn stopped(&self) -> usize {
        *self.stopped.lock().unwrap()
    }
}

impl Compact for Double {
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        tiktoken(model.unwrap_or("gpt-4o")).unwrap_or_else(|| tiktoken("gpt-4o").expect("known"))
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        match self.manner {
            Manner::TooSmall => Err(CompactError::BudgetTooSmall { budget: 0, minimum: 1 }),
            _ => Ok(()),
        }
    }

    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        self.asked.lock().unwrap().push(request.clone());
        let counter = self.counter(request.model.as_deref());
        let before = counter.count(&request.text);
        let (outcome, text) = match self.manner {
            Manner::TooSmallWith(words) if request.text.contains(words) => {
                return Err(CompactError::BudgetTooSmall { budget: 1, minimum: 77 });
            }
            Manner::Shorten | Manner::TooSmallWith(_) => (Outcome::Compacted, SHORT.to_owned()),
            Manner::Pass => (Outcome::Passed(PassReason::NotShorter), request.text.clone()),
            Manner::TooSmall => return Err(CompactError::BudgetTooSmall { budget: 1, minimum: 77 }),
            Manner::Panic => panic!("as asked"),
            Manner::Endless => loop {
                if let Err(stopped) = cancel.check() {
                    *self.stopped.lock().unwrap() += 1;
                    return Err(stopped.into());
                }
                thread::sleep(Duration::from_millis(5));
            },
            Manner::Deaf => {
                thread::sleep(Duration::from_millis(400));
                (Outcome::Compacted, SHORT.to_owned())
            }
        };
        let after = counter.count(&text);
        let figures = Figures {
            tokens_before: before,
            tokens_after: after,
            ratio: before as f64 / after as f64,
            cache_hits: 3,
            cache_lookups: 4,
            joules: Some(1.5),
            co2_grams: Some(0.75),
            ..Figures::default()
        };
        Ok(Compaction { outcome, text, pieces: Vec::new(), figures, evidence: Vec::new(), explain: None })
    }
}
