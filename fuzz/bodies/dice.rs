//! Pseudorandom choices derived from the input.

use std::ops::Range;

use epitome_text::tokens::TokenCounter;

/// The seed is the input's length and last bytes, so that a change anywhere else leaves the choices as they
/// are.
const DECIDING: usize = 8;

/// A source of choices.
pub struct Dice(u64);

impl Dice {
    /// Seeded by an input.
    pub fn of(data: &[u8]) -> Self {
        let end = &data[data.len().saturating_sub(DECIDING)..];
        let seed = end.iter().fold(data.len() as u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// The next number (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True with a probability of one in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A random element of `all`.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A random range of `text` on character boundaries, often the whole text.
    pub fn part_of(&mut self, text: &str) -> Range<usize> {
        if self.one_in(3) {
            return 0..text.len();
        }
        let mut border = || text.floor_char_boundary(self.below(text.len() + 1));
        let (one, other) = (border(), border());
        one.min(other)..one.max(other)
    }
}

/// Counts words, each with the white space before it, independent of language.
pub struct Words;

impl TokenCounter for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        let mut lengths: Vec<u32> = Vec::new();
        let mut in_word = false;
        for byte in text.bytes() {
            let space = byte.is_ascii_whitespace();
            if in_word && space || lengths.last().is_none_or(|last| *last >= 12) {
                lengths.push(0);
            }
            in_word = !space;
            *lengths.last_mut().unwrap() += 1;
        }
        lengths
    }
}
