//! Rows of a gateway: each comes back, and what was shortened can be had whole.

use std::sync::Arc;

use epitome::{
    config,
    originals::{Id, Originals},
    plan::RequestOverrides,
    rewrite::{
        Effort,
        pipeline::Compact,
        retrieve::{self, Part},
        rows,
    },
    wire::compress::{self, Mode},
};
use epitome_compactor::{
    Cache, CompactError, CompactRequest, Compaction,
    compaction::{Figures, Outcome},
};
use epitome_text::tokens::TokenCounter;
use epitome_work::Cancel;

use super::dice::{Dice, Words};

/// Keeps the first half of each text.
struct Half(Originals);

impl Compact for Half {
    fn counter(&self, _: Option<&str>) -> Arc<dyn TokenCounter> {
        Arc::new(Words)
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        Ok(())
    }

    fn compact(&self, request: &CompactRequest, _: &Cancel) -> Result<Compaction, CompactError> {
        let half = request.text.floor_char_boundary(request.text.len() / 2);
        let text = request.text[..half].to_owned();
        let figures = Figures { tokens_after: Words.count(&text), ..Figures::default() };
        let (outcome, pieces, evidence) = (Outcome::Compacted, Vec::new(), Vec::new());
        Ok(Compaction { outcome, text, pieces, figures, evidence, explain: None })
    }

    fn originals(&self) -> Option<Originals> {
        Some(self.0.clone())
    }
}

/// As many rows come back as came, with every field but their texts as it was; a hash gives a whole text that came.
pub fn rows(data: &[u8]) {
    let Ok(asked) = compress::read(data) else { return };
    let mut dice = Dice::of(data);
    let config = config::Plan {
        min_tokens: dice.pick(&[0, 1, 20]),
        roles: ["user", "tool", "assistant"].map(str::to_owned).to_vec(),
        floor: 0.0,
        ..config::Plan::default()
    };
    let pipeline = Half(Originals::new(Arc::new(Cache::memory_only())));
    let (wishes, never) = (RequestOverrides::default(), Cancel::never());
    let done = rows::shorten(&pipeline, &config, data, &asked, &wishes, Effort::Compact, &never);
    assert!(done.tokens.1 <= done.tokens.0);
    if asked.mode == Mode::Audit || done.texts.iter().all(|text| !text.reason.is_empty()) {
        assert_eq!(done.list, asked.list.as_bytes());
    }
    let after = compress::read_list(&done.list).expect("a list of rows");
    assert_eq!(after.len(), asked.rows.len());
    for (row, was) in after.iter().zip(&asked.rows) {
        assert_eq!((row.role, &row.answers, &row.name), (was.role, &was.answers, &was.name));
        assert_eq!(row.texts.len(), was.texts.len());
    }
    let was: Vec<String> =
        asked.rows.iter().flat_map(|row| &row.texts).filter_map(|text| text.literal.decode()).collect();
    for hash in done.hashes() {
        let id: Id = hash.parse().expect("an id");
        let whole = retrieve::retrieve(&pipeline, &id, Part::Whole, None, &never).expect("it is kept");
        assert!(was.contains(&whole.original_content));
        let lines = format!("{}-{}", 1 + dice.below(9), 9 + dice.below(9)).parse().expect("lines");
        retrieve::retrieve(&pipeline, &id, Part::Lines(lines), None, &never).expect("it is kept");
    }
}
