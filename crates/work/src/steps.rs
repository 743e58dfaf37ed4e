//! How far a compaction is.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What takes time in a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Finding spans and segments.
    Segment,
    /// Scoring spans.
    Rank,
    /// Writing summaries.
    Summarize,
    /// Choosing, placing and rendering.
    Fit,
}

/// Written by the threads that work, read by who shows it.
#[derive(Debug, Default)]
pub struct Steps {
    stage: AtomicU8,
    wanted: AtomicUsize,
    made: AtomicUsize,
    written: AtomicUsize,
}

impl Steps {
    /// A stage begins.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// So many summaries are to be made at most.
    pub fn want(&self, summaries: usize) {
        self.wanted.store(summaries, Ordering::Relaxed);
        self.made.store(0, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
    }

    /// One of them is made.
    pub fn made_one(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// A piece of a summary was written; an empty one says only that somebody still waits.
    pub fn wrote(&self, piece: &str) {
        self.written.fetch_add(piece.chars().count(), Ordering::Relaxed);
    }

    /// For people.
    pub fn text(&self) -> String {
        let [wanted, made, written] =
            [&self.wanted, &self.made, &self.written].map(|count| count.load(Ordering::Relaxed));
        match self.stage.load(Ordering::Relaxed) {
            stage if stage == Stage::Segment as u8 => "segmenting".to_owned(),
            stage if stage == Stage::Rank as u8 => "ranking".to_owned(),
            stage if stage == Stage::Summarize as u8 => {
                let text =
                    if written > 0 { format!(", {written} characters written") } else { String::new() };
                format!("summarizing: {made} of at most {wanted} summaries{text}")
            }
            _ => "placing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_words() {
        let steps = Steps::default();
        assert_eq!(steps.text(), "segmenting");
        steps.enter(Stage::Rank);
        assert_eq!(steps.text(), "ranking");
        steps.enter(Stage::Summarize);
        steps.want(7);
        assert_eq!(steps.text(), "summarizing: 0 of at most 7 summaries");
        steps.made_one();
        ["", " Ändern", ""].iter().for_each(|piece| steps.wrote(piece));
        assert_eq!(steps.text(), "summarizing: 1 of at most 7 summaries, 7 characters written");
        steps.want(2);
        assert_eq!(steps.text(), "summarizing: 0 of at most 2 summaries");
        steps.enter(Stage::Fit);
        assert_eq!(steps.text(), "placing");
    }
}
