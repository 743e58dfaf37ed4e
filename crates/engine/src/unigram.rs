//! Cuts a text into the likeliest pieces of a unigram vocabulary (Kudo, Subword Regularization, arXiv 1804.10959,
//! section 3.2; the normalisation of SentencePiece as a map of characters).

use std::ops::Range;

/// Stands for a space in a piece.
const SPACE: char = '\u{2581}';
/// Score of what no pieces lead to.
const UNREACHED: f32 = -1e30;

/// A vocabulary of pieces with their log-probabilities.
#[derive(Debug)]
pub(crate) struct Unigram {
    /// All pieces, one behind the other.
    pieces: String,
    /// Where each piece begins and ends in `pieces`.
    ranges: Vec<Range<u32>>,
    scores: Vec<f32>,
    /// Ids of the pieces, plus 1, by the hash of their bytes; 0 where there is none. Twice as many as pieces at least.
    table: Vec<u32>,
    /// Bytes of the longest piece.
    longest: usize,
    unknown: u32,
    unknown_score: f32,
    /// What characters become, in the order of the characters.
    changes: Vec<(char, String)>,
}

/// Part of a vocabulary, before it is a [`Unigram`].
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    pub(crate) pieces: Vec<String>,
    pub(crate) scores: Vec<f32>,
    /// The id of what no piece covers, and its score.
    pub(crate) unknown: (u32, f32),
    pub(crate) changes: Vec<(char, String)>,
}

/// The best way to a place in a text.
#[derive(Clone, Copy, Debug)]
struct Step {
    score: f32,
    piece: u32,
    /// The place before the piece.
    from: usize,
}

impl Unigram {
    pub(crate) fn new(vocabulary: Vocabulary) -> Self {
        let Vocabulary { pieces: list, scores, unknown, mut changes } = vocabulary;
        changes.sort();
        let mut pieces = String::with_capacity(list.iter().map(String::len).sum());
        let mut ranges = Vec::with_capacity(list.len());
        for piece in &list {
            let start = pieces.len() as u32;
            pieces.push_str(piece);
            ranges.push(start..pieces.len() as u32);
        }
        let size = (2 * list.len()).next_power_of_two();
        let mut table = vec![0_u32; size];
        for (id, piece) in list.iter().enumerate().filter(|(id, _)| *id as u32 != unknown.0) {
            let mut at = slot(hash(FIRST_HASH, piece.as_bytes()), size);
            while let Some(taken) = table.get_mut(at) {
                if *taken == 0 {
                    *taken = id as u32 + 1;
                    break;
                }
                at = (at + 1) & (size - 1);
            }
        }
        let longest = list.iter().map(String::len).max().unwrap_or(0);
        Self { pieces, ranges, scores, table, longest, unknown: unknown.0, unknown_score: unknown.1, changes }
    }

    /// Size of the vocabulary in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.pieces.len()
            + size_of_val(self.ranges.as_slice())
            + size_of_val(self.scores.as_slice())
            + size_of_val(self.table.as_slice())
    }

    /// The ids of the pieces of a text.
    pub(crate) fn ids(&self, text: &str) -> Vec<u32> {
        let normal = self.normal(text);
        // Places are those between characters.
        let places: Vec<usize> = normal.char_indices().map(|(at, _)| at).chain([normal.len()]).collect();
        let mut best = vec![Step { score: UNREACHED, piece: self.unknown, from: 0 }; places.len()];
        if let Some(start) = best.first_mut() {
            start.score = 0.0;
        }
        for (from, start) in places.iter().enumerate() {
            let score = best.get(from).map_or(UNREACHED, |step| step.score);
            let mut offer = |to: usize, score: f32, piece: u32| {
                if let Some(step) = best.get_mut(to).filter(|step| score > step.score) {
                    *step = Step { score, piece, from };
                }
            };
            let (mut hashed, mut before) = (FIRST_HASH, *start);
            for (to, end) in places.iter().enumerate().skip(from + 1) {
                if end - start > self.longest {
                    break;
                }
                hashed = hash(hashed, normal.as_bytes().get(before..*end).unwrap_or_default());
                before = *end;
                let piece = normal.get(*start..*end).and_then(|piece| self.find(hashed, piece));
                if let Some((piece, own)) = piece {
                    offer(to, score + own, piece);
                }
            }
            offer(from + 1, score + self.unknown_score, self.unknown);
        }
        let mut ids = Vec::new();
        let mut at = places.len().saturating_sub(1);
        while let Some(step) = best.get(at).filter(|_| at > 0) {
            ids.push(step.piece);
            at = step.from;
        }
        ids.reverse();
        ids
    }

    fn find(&self, hashed: u64, piece: &str) -> Option<(u32, f32)> {
        let size = self.table.len();
        let mut at = slot(hashed, size);
        // The table has room to spare, so that a search ends.
        while let Some(id) = self.table.get(at).and_then(|taken| taken.checked_sub(1)) {
            let range = self.ranges.get(id as usize)?;
            if self.pieces.get(range.start as usize..range.end as usize) == Some(piece) {
                return Some((id, *self.scores.get(id as usize)?));
            }
            at = (at + 1) & (size - 1);
        }
        None
    }

    /// The text as the vocabulary has it: characters changed, runs of spaces as one, and a space before all.
    fn normal(&self, text: &str) -> String {
        let mut normal = String::with_capacity(text.len() + text.len() / 2 + SPACE.len_utf8());
        let mut after_space = false;
        let mut push = |c: char| {
            let space = c == ' ';
            if normal.is_empty() && !space {
                normal.push(SPACE);
            }
            if !(space && after_space) {
                normal.push(if space { SPACE } else { c });
            }
            after_space = space;
        };
        for c in text.chars() {
            match self.changes.binary_search_by_key(&c, |(from, _)| *from) {
                Ok(at) => {
                    self.changes.get(at).into_iter().flat_map(|(_, to)| to.chars()).for_each(&mut push);
                }
                Err(_) => push(c),
            }
        }
        if normal.is_empty() {
            normal.push(SPACE);
        }
        normal
    }
}

/// FNV-1a.
const FIRST_HASH: u64 = 0xcbf2_9ce4_8422_2325;

fn hash(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn slot(hashed: u64, size: usize) -> usize {
    // The low bits of FNV alone are close together for short pieces.
    (hashed ^ hashed >> 32) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Unigram {
        let pieces = ["<unk>", "\u{2581}", "a", "b", "ab", "\u{2581}ab", "\u{2581}a"];
        Unigram::new(Vocabulary {
            pieces: pieces.map(str::to_owned).to_vec(),
            scores: vec![0.0, -1.0, -2.0, -2.0, -3.0, -3.5, -2.5],
            unknown: (0, -20.0),
            changes: vec![('\n', " ".into()), ('A', "a".into()), ('\u{200b}', String::new())],
        })
    }

    #[test]
    fn the_likeliest_pieces_are_taken() {
        let unigram = small();
        // "▁ab" costs 3.5; "▁" and "ab" would cost 4, "▁a" and "b" 4.5.
        assert_eq!(unigram.ids("ab"), [5]);
        assert_eq!(unigram.ids("\u{200b}Ab  \n ab"), [5, 5]);
        assert_eq!(unigram.ids("a?b"), [6, 0, 3]);
        assert_eq!(unigram.ids("ab "), [5, 1]);
        assert_eq!(unigram.ids(""), [1]);
        assert_eq!(unigram.ids(" "), [1]);
    }

    #[test]
    fn an_empty_vocabulary_knows_nothing() {
        let unigram = Unigram::new(Vocabulary { unknown: (3, -20.0), ..Vocabulary::default() });
        assert_eq!(unigram.ids("ab"), [3, 3, 3]);
    }
}
