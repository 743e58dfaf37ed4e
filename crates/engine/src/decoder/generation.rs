//! Choosing tokens, decoding them to text, and deciding when to stop.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use super::grounds::Grounds;

/// The purpose of a request; interactive requests go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Someone is waiting for the answer.
    Chat,
    /// Finding the passages that a query needs.
    Rank,
    /// A summary for a compaction.
    Summary,
    /// Answering a question in an evaluation.
    Reading,
}

impl Class {
    /// The label used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Class::Chat => "chat",
            Class::Rank => "rank-attention",
            Class::Summary => "summary",
            Class::Reading => "reading",
        }
    }
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text of the message.
    pub content: String,
}

/// How to choose tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Maximum number of tokens to generate.
    pub max_tokens: usize,
    /// Softmax temperature; 0 is greedy.
    pub temperature: f64,
    /// Nucleus sampling threshold; 1 keeps all tokens.
    pub top_p: f64,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Generation ends before any of these strings.
    pub stop: Vec<String>,
    /// Ends generation when the output begins to loop.
    pub repetition_guard: bool,
    /// Restricts figures and capitalised words to those of a source; `None` allows all.
    pub grounds: Option<Arc<Grounds>>,
}

impl Sampling {
    /// Greedy decoding without further constraints.
    pub fn greedy(max_tokens: usize) -> Self {
        Self {
            max_tokens,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            stop: Vec::new(),
            repetition_guard: false,
            grounds: None,
        }
    }

    /// Whether sampling is deterministic.
    pub(crate) fn is_greedy(&self) -> bool {
        // Negative and NaN temperatures are treated as greedy.
        self.temperature.is_nan() || self.temperature <= 0.0
    }
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token or a stop string.
    Stop,
    /// The token limit was reached, or the context is full.
    Length,
    /// The output began to loop.
    Repetition,
    /// The sink ended it.
    Cancelled,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// Chooses tokens from logits; deterministic for the same logits and seed.
pub(crate) struct Sampler {
    greedy: bool,
    temperature: f64,
    top_p: f64,
    state: u64,
}

impl Sampler {
    pub(crate) fn new(sampling: &Sampling) -> Self {
        let Sampling { temperature, top_p, seed, .. } = *sampling;
        Self { greedy: sampling.is_greedy(), temperature, top_p, state: seed }
    }

    /// Whether it always takes the most likely token.
    pub(crate) fn is_greedy(&self) -> bool {
        self.greedy
    }

    /// Chooses the next token among those allowed; `None` if all their logits are NaN.
    pub(crate) fn choose(&mut self, logits: &[f32], allowed: impl Fn(u32) -> bool) -> Option<u32> {
        let best = best_allowed(logits, &allowed)?;
        if self.greedy {
            return Some(best.1);
        }
        let weight = |logit: f32| ((f64::from(logit) - f64::from(best.0)) / self.temperature).exp();
        let mut weights: Vec<(f64, u32)> = logits
            .iter()
            .zip(0u32..)
            .map(|(logit, id)| (weight(*logit), id))
            .filter(|(weight, id)| *weight > 1e-12 && allowed(*id))
            .collect();
        weights.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let all: f64 = weights.iter().map(|(weight, _)| weight).sum();
        let mut nucleus = 0.0;
        let mut count = 0;
        for (weight, _) in &weights {
            nucleus += weight;
            count += 1;
            if nucleus >= self.top_p * all {
                break;
            }
        }
        let mut point = self.random() * nucleus;
        for (weight, id) in weights.iter().take(count) {
            point -= weight;
            if point < 0.0 {
                return Some(*id);
            }
        }
        Some(best.1)
    }

    /// The next number in [0, 1), by SplitMix64.
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How many of the greatest logits to try before sorting all of them.
const NEAREST: usize = 64;

/// The greatest logit with an allowed token; the first in case of a tie.
fn best_allowed(logits: &[f32], allowed: impl Fn(u32) -> bool) -> Option<(f32, u32)> {
    let numbers = || logits.iter().copied().zip(0u32..).filter(|(logit, _)| !logit.is_nan());
    let best = numbers().reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    if allowed(best.1) {
        return Some(best);
    }
    let order = |a: &(f32, u32), b: &(f32, u32)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
    let mut all: Vec<(f32, u32)> = numbers().collect();
    if all.len() > NEAREST {
        let (nearest, _, _) = all.select_nth_unstable_by(NEAREST, order);
        nearest.sort_unstable_by(order);
        if let Some(found) = nearest.iter().find(|(_, id)| allowed(*id)) {
            return Some(*found);
        }
    }
    all.sort_unstable_by(order);
    all.into_iter().find(|(_, id)| allowed(*id))
}

/// Decodes tokens that may end inside a character, and holds back text that could be the beginning of a stop
/// string.
pub(crate) struct TextStream {
    stop: Vec<String>,
    bytes: Vec<u8>,
    held: String,
    /// Whether a stop string was found; text after it is dropped.
    pub(crate) stopped: bool,
}

impl TextStream {
    pub(crate) fn new(stop: Vec<String>) -> Self {
        let stop = stop.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self { stop, bytes: Vec::new(), held: String::new(), stopped: false }
    }

    /// The buffer for the bytes of the next token.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes the text that is final and has not been returned yet.
    pub(crate) fn take(&mut self) -> String {
        self.decode(false);
        self.cut_at_stop();
        if self.stopped {
            return std::mem::take(&mut self.held);
        }
        let certain = self.held.len() - self.could_begin_stop();
        let rest = self.held.split_off(certain);
        std::mem::replace(&mut self.held, rest)
    }

    /// Returns the remaining text at the end of generation.
    pub(crate) fn finish(&mut self) -> String {
        self.decode(true);
        self.cut_at_stop();
        std::mem::take(&mut self.held)
    }

    fn decode(&mut self, all: bool) {
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.held.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            self.held.push_str(&String::from_utf8_lossy(valid));
            rest = after;
            let broken = match error.error_len() {
                Some(length) => length,
                None if all => rest.len(),
                None => break,
            };
            self.held.push(char::REPLACEMENT_CHARACTER);
            rest = rest.get(broken..).unwrap_or_default();
        }
        self.bytes = rest.to_vec();
    }

    fn cut_at_stop(&mut self) {
        if let Some(at) = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            self.stopped = true;
        }
    }

    /// Length of the longest suffix that is a prefix of a stop string.
    fn could_begin_stop(&self) -> usize {
        let longest = |stop: &String| {
            let mut ends = stop.char_indices().map(|(at, _)| at).rev().filter(|at| *at > 0);
            ends.find(|at| stop.get(..*at).is_some_and(|begin| self.held.ends_with(begin)))
        };
        self.stop.iter().filter_map(longest).max().unwrap_or(0)
    }
}

/// A sequence of at least this many tokens that occurs three times in a row counts as a loop.
const LOOP_MIN: usize = 8;
/// Longest sequence to look for.
const LOOP_MAX: usize = 256;
/// Number of repetitions after which a sequence or a line counts as a loop.
const LOOP_TIMES: usize = 3;
/// Shorter lines may repeat: brackets, bullets, short answers.
const LOOP_LINE: usize = 16;

/// Detects when the output begins to loop.
#[derive(Default)]
pub(crate) struct RepetitionGuard {
    ids: Vec<u32>,
    line: String,
    lines: HashMap<String, usize>,
}

impl RepetitionGuard {
    /// Adds the next token and its text; returns whether the output is looping.
    pub(crate) fn loops(&mut self, id: u32, text: &str) -> bool {
        self.ids.push(id);
        let mut lines = text.split('\n');
        self.line.push_str(lines.next().unwrap_or_default());
        for begun in lines {
            let line = std::mem::replace(&mut self.line, begun.to_owned());
            let line = line.trim();
            if line.chars().count() >= LOOP_LINE {
                let times = self.lines.entry(line.to_owned()).or_default();
                *times += 1;
                if *times >= LOOP_TIMES {
                    return true;
                }
            }
        }
        (LOOP_MIN..=LOOP_MAX.min(self.ids.len() / LOOP_TIMES)).any(|run| {
            let mut runs = self.ids.rchunks_exact(run).take(LOOP_TIMES);
            let last = runs.next();
            runs.all(|earlier| Some(earlier) == last)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::CLASSES;

    #[test]
    fn every_class_has_a_metrics_label() {
        for class in [Class::Chat, Class::Rank, Class::Summary, Class::Reading] {
            assert!(CLASSES.contains(&class.name()));
        }
    }

    fn sampling(temperature: f64, top_p: f64, seed: u64) -> Sampling {
        Sampling { temperature, top_p, seed, ..Sampling::greedy(0) }
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let mut sampler = Sampler::new(&sampling(0.0, 1.0, 0));
        assert_eq!(sampler.choose(&[0.0, 2.0, f32::NAN, 2.0], |_| true), Some(1));
        assert_eq!(sampler.choose(&[f32::NAN], |_| true), None);
        assert_eq!(sampler.choose(&[], |_| true), None);
        assert_eq!(sampler.choose(&[0.0, 2.0, f32::NAN, 2.0], |id| id != 1), Some(3));
        assert_eq!(sampler.choose(&[0.0, 2.0], |_| false), None);
        let many: Vec<f32> = (0..1000u16).map(|at| f32::from(at * 7 % 1000)).collect();
        for last in [3.0f32, 500.0, 998.0] {
            let chosen = sampler.choose(&many, |id| many[id as usize] <= last).unwrap();
            assert_eq!(many[chosen as usize], last);
        }
    }

    #[test]
    fn samples_follow_the_distribution_and_the_seed() {
        let logits = [0.0f32, 1.0, 2.0, -50.0];
        let draw = |seed, top_p| {
            let mut sampler = Sampler::new(&sampling(1.0, top_p, seed));
            (0..3000).filter_map(|_| sampler.choose(&logits, |_| true)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1.0), draw(7, 1.0));
        assert_ne!(draw(7, 1.0), draw(8, 1.0));
        let share = draw(7, 1.0).iter().filter(|id| **id == 2).count() as f64 / 3000.0;
        assert!((share - 0.665).abs() < 0.04, "{share}");
        assert!(draw(7, 0.5).iter().all(|id| *id == 2));
        assert!(draw(7, 0.9).iter().all(|id| *id != 0));
        let mut sampler = Sampler::new(&sampling(1.0, 1.0, 7));
        assert!((0..300).all(|_| sampler.choose(&logits, |id| id != 2) != Some(2)));
    }

    fn stream(pieces: &[&[u8]], stop: &[&str]) -> (Vec<String>, bool) {
        let stop: Vec<String> = stop.iter().map(|s| (*s).to_owned()).collect();
        let mut stream = TextStream::new(stop);
        let mut out = Vec::new();
        for piece in pieces {
            stream.bytes().extend_from_slice(piece);
            out.push(stream.take());
            if stream.stopped {
                return (out, true);
            }
        }
        out.push(stream.finish());
        (out, stream.stopped)
    }

    #[test]
    fn characters_are_whole() {
        let (out, _) = stream(&[b"a\xF0\x9F", b"\x98\x80b", b"\xFFc", b"\xE2\x82"], &[]);
        assert_eq!(out, ["a", "\u{1F600}b", "\u{FFFD}c", "", "\u{FFFD}"]);
    }

    #[test]
    fn stop_strings_are_found_across_token_boundaries() {
        let (out, stopped) = stream(&[b"one E", b"N", b"D two"], &["END"]);
        assert_eq!((out.concat().as_str(), stopped), ("one ", true));
        let (out, stopped) = stream(&[b"one E", b"Nd"], &["END", "EN!"]);
        assert_eq!((out.concat().as_str(), stopped), ("one ENd", false));
        let (out, stopped) = stream(&[b"a\n", b"\nb"], &["\n\n"]);
        assert_eq!((out.concat().as_str(), stopped), ("a", true));
    }

    proptest! {
        #[test]
        fn text_before_the_stop_string_is_kept_however_it_is_cut(
            text in "[ab\u{e9}]{0,24}",
            stop in "[ab\u{e9}]{1,3}",
            cuts in prop::collection::vec(0usize..40, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (out, stopped) = stream(&pieces, &[&stop]);
            let expected = text.find(&stop);
            prop_assert_eq!(out.concat(), &text[..expected.unwrap_or(text.len())]);
            prop_assert_eq!(stopped, expected.is_some());
        }
    }

    #[test]
    fn loops_are_detected() {
        let mut guard = RepetitionGuard::default();
        let mut ids = (0..100).chain((0..3).flat_map(|_| 200..212));
        assert!(!ids.by_ref().take(135).any(|id| guard.loops(id, "")));
        assert!(guard.loops(211, ""));
        let mut guard = RepetitionGuard::default();
        assert_eq!((0..100).position(|_| guard.loops(5, "")), Some(23));
    }

    #[test]
    fn repeated_lines_are_detected() {
        let mut guard = RepetitionGuard::default();
        let text = "The monitors went into action.\n}\n}\n}\n}\n".repeat(3);
        let mut ids = 0u32..;
        let found = text.chars().position(|c| guard.loops(ids.next().unwrap(), &c.to_string()));
        assert_eq!(found, Some(2 * text.len() / 3 + 30));
    }
}
