//! What sentence borders need to know of scripts: their terminators and clause marks, the scripts that are
//! written without spaces between words, and the borders of grapheme clusters and words.

use icu_segmenter::{WordSegmenter, options::WordBreakInvariantOptions};
use unicode_segmentation::GraphemeCursor;

/// How a terminator ends a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminator {
    /// The full stop of the Latin script: ends one only where space, and no abbreviation, is around it.
    Point,
    /// Ends one where white space follows and no lower-case letter.
    Spaced,
    /// Ends one whatever follows.
    Always,
    /// Ends one where white space follows, or a letter of a script that has no cases.
    Wide,
    /// The Greek question mark as it is typed: a semicolon.
    Semicolon,
}

/// The kind of terminator that `c` is.
pub(crate) fn terminator(c: char) -> Option<Terminator> {
    Some(match c {
        '.' => Terminator::Point,
        '!' | '?' | '…' | '\u{37E}' => Terminator::Spaced,
        ';' => Terminator::Semicolon,
        '‼' | '⁇' | '⁈' | '⁉' | '．' => Terminator::Wide,
        '。' | '！' | '？' | '｡' | '︒' | '︕' | '︖' => Terminator::Always,
        // Arabic, Syriac, N'Ko, Armenian, Georgian.
        '؟' | '۔' | '؞' | '܀' | '܁' | '܂' | '߹' | '։' | '჻' => Terminator::Always,
        // Devanagari and its neighbours, Sinhala, Tibetan, Burmese, Khmer, Ethiopic, Mongolian.
        '।' | '॥' | '෴' | '།' | '༎' | '༏' | '༐' | '༑' | '။' | '។' | '៕' | '።' | '፧' | '፨' | '᠃' | '᠉' => {
            Terminator::Always
        }
        // Canadian syllabics, Vai, Javanese, Balinese, Meetei Mayek, Ol Chiki, Cham.
        '᙮' | '꘎' | '꘏' | '꧈' | '꧉' | '᭞' | '᭟' | '꯫' | '᱾' | '᱿' | '꩝' | '꩞' | '꩟' => {
            Terminator::Always
        }
        _ => return None,
    })
}

/// Quotation marks and brackets that close what a terminator stands in.
pub(crate) fn is_closer(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '”' | '’' | '»' | '›' | ')' | ']' | '}' | '」' | '』' | '）' | '】' | '》' | '〉'
    ) || matches!(c, '〕' | '〗' | '］' | '｝' | '｣' | '＂' | '＇' | '༽' | '﴾')
}

/// The marks at which a long sentence is cut first, besides line breaks.
pub(crate) fn is_clause_mark(c: char) -> bool {
    matches!(c, '\n' | ';' | '；' | '、' | '，' | '،' | '؛' | '၊' | '፣' | '፤' | '፥' | '\u{387}' | '༔')
}

/// A letter or mark of a script without spaces between words, whose spaces stand between clauses; with the bytes
/// that a clause has at least. Burmese and Khmer have full stops too, so their spaces count for less.
pub(crate) fn clause_length(c: char) -> Option<usize> {
    match c {
        // No sentence begins with the signs of repetition, abbreviation and "and so on".
        'ๆ' | 'ฯ' | 'ໆ' | 'ຯ' | 'ៗ' | '៘' => None,
        '\u{E01}'..='\u{E4E}' | '\u{E81}'..='\u{ECF}' | '\u{EDC}'..='\u{EDF}' => Some(150),
        '\u{1000}'..='\u{103F}' | '\u{1050}'..='\u{108F}' | '\u{1780}'..='\u{17D3}' => Some(400),
        _ => None,
    }
}

/// A letter of a script without cases in which a letter alone with a point is an initial.
pub(crate) fn is_caseless_initial(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{64A}' | '\u{671}'..='\u{6D3}' | '\u{5D0}'..='\u{5EA}' | '\u{900}'..='\u{DFF}')
}

/// Whether the letters at the end of `text` are Greek, with a word of two at least.
pub(crate) fn ends_greek(text: &str) -> bool {
    let word = text.chars().rev().skip_while(|c| !c.is_alphanumeric()).take(40);
    let greek = word.take_while(|c| matches!(c, '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' | '\u{301}'));
    greek.take(2).count() == 2
}

/// Whether a grapheme cluster of `text` ends at `at`.
pub(crate) fn is_cluster_border(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}

/// The last border of a cluster that lies in `text` before or at `at`, or the first one behind it where there is
/// none but the start.
pub(crate) fn cluster_border(text: &str, at: usize) -> usize {
    if at >= text.len() || is_cluster_border(text, at) {
        return at.min(text.len());
    }
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    match cursor.prev_boundary(text, 0) {
        Ok(Some(border)) if border > 0 => border,
        _ => {
            let mut cursor = GraphemeCursor::new(at, text.len(), true);
            cursor.next_boundary(text, 0).ok().flatten().unwrap_or(text.len())
        }
    }
}

/// Bytes of text that words are looked for in.
const WORDS: usize = 90;

/// The last border between words in `window`, whose words are written without spaces; none where its end is in
/// another script.
pub(crate) fn word_border(window: &str) -> Option<usize> {
    let last = window.chars().next_back()?;
    clause_length(last)?;
    // A model finds the words, so it is shown no more than it needs.
    let tail = cluster_border(window, window.floor_char_boundary(window.len().saturating_sub(WORDS)));
    // The last word may be cut off by the end of the window.
    let borders = WordSegmenter::new_lstm(WordBreakInvariantOptions::default()).segment_str(&window[tail..]);
    let border = borders.map(|border| tail + border).filter(|border| *border < window.len()).last()?;
    (border > tail).then_some(border)
}
