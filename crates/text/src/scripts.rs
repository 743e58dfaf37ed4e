//! Script-specific data for sentence boundaries: terminators and clause marks, scripts written without spaces
//! between words, and the boundaries of grapheme clusters and words.

use icu_segmenter::{WordSegmenter, options::WordBreakInvariantOptions};
use unicode_segmentation::GraphemeCursor;

/// How a terminator ends a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminator {
    /// The full stop of the Latin script: only ends a sentence depending on the spaces and abbreviations
    /// around it.
    Point,
    /// Ends a sentence if followed by white space and then not by a lower-case letter.
    Spaced,
    /// Ends a sentence whatever follows.
    Always,
    /// Ends a sentence if followed by white space or by a letter of a script without case.
    Wide,
    /// The Greek question mark, typed as a semicolon.
    Semicolon,
}

/// The type of terminator that `c` is.
pub(crate) fn terminator(c: char) -> Option<Terminator> {
    Some(match c {
        '.' => Terminator::Point,
        '!' | '?' | '…' | '\u{37E}' => Terminator::Spaced,
        ';' => Terminator::Semicolon,
        '‼' | '⁇' | '⁈' | '⁉' | '．' => Terminator::Wide,
        '。' | '！' | '？' | '｡' | '︒' | '︕' | '︖' => Terminator::Always,
        // Arabic, Syriac, N'Ko, Armenian, Georgian.
        '؟' | '۔' | '؞' | '܀' | '܁' | '܂' | '߹' | '։' | '჻' => Terminator::Always,
        // Devanagari and related scripts, Sinhala, Tibetan, Burmese, Khmer, Ethiopic, Mongolian.
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

/// Quotation marks and brackets that may follow a terminator as part of its sentence.
pub(crate) fn is_closer(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '”' | '’' | '»' | '›' | ')' | ']' | '}' | '」' | '』' | '）' | '】' | '》' | '〉'
    ) || matches!(c, '〕' | '〗' | '］' | '｝' | '｣' | '＂' | '＇' | '༽' | '﴾')
}

/// The marks at which a long sentence is preferably split, besides line breaks.
pub(crate) fn is_clause_mark(c: char) -> bool {
    matches!(c, '\n' | ';' | '；' | '、' | '，' | '،' | '؛' | '၊' | '፣' | '፤' | '፥' | '\u{387}' | '༔')
}

/// For a letter or mark of a script that puts spaces between clauses instead of words: the minimum length of
/// a clause in bytes. Burmese and Khmer also have full stops, so their spaces are weaker boundaries.
pub(crate) fn clause_length(c: char) -> Option<usize> {
    match c {
        // Signs of repetition, abbreviation and "et cetera" never begin a sentence.
        'ๆ' | 'ฯ' | 'ໆ' | 'ຯ' | 'ៗ' | '៘' => None,
        '\u{E01}'..='\u{E4E}' | '\u{E81}'..='\u{ECF}' | '\u{EDC}'..='\u{EDF}' => Some(150),
        '\u{1000}'..='\u{103F}' | '\u{1050}'..='\u{108F}' | '\u{1780}'..='\u{17D3}' => Some(400),
        _ => None,
    }
}

/// A letter of a script without case in which a single letter with a full stop is an initial.
pub(crate) fn is_caseless_initial(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{64A}' | '\u{671}'..='\u{6D3}' | '\u{5D0}'..='\u{5EA}' | '\u{900}'..='\u{DFF}')
}

/// Whether `text` ends in Greek letters, with a word of at least two.
pub(crate) fn ends_greek(text: &str) -> bool {
    let word = text.chars().rev().skip_while(|c| !c.is_alphanumeric()).take(40);
    let greek = word.take_while(|c| matches!(c, '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' | '\u{301}'));
    greek.take(2).count() == 2
}

/// Whether a grapheme cluster of `text` ends at `at`.
pub(crate) fn is_cluster_border(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}

/// The last cluster boundary in `text` at or before `at`; if that is the start of the text, the first one
/// after it.
pub(crate) fn cluster_boundary(text: &str, at: usize) -> usize {
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

/// Number of bytes at the end of the text to search for words.
const WORDS: usize = 90;

/// The last word boundary in `window`, for scripts without spaces between words; `None` if it ends in another
/// script.
pub(crate) fn word_boundary(window: &str) -> Option<usize> {
    let last = window.chars().next_back()?;
    clause_length(last)?;
    // A language model finds the words, so give it no more text than it needs.
    let tail = cluster_boundary(window, window.floor_char_boundary(window.len().saturating_sub(WORDS)));
    // The last word may be cut off by the end of the window.
    let borders = WordSegmenter::new_lstm(WordBreakInvariantOptions::default()).segment_str(&window[tail..]);
    let border = borders.map(|border| tail + border).filter(|border| *border < window.len()).last()?;
    (border > tail).then_some(border)
}
