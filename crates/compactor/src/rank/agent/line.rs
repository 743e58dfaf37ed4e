//! What a line of a tool's result is by itself: its text without the number in front of it, its words, and marks of its
//! kind.

/// Words that are shorter than this tell nothing apart.
const SHORT: usize = 3;
/// Most digits of a line number.
const DIGITS: usize = 7;

/// Marks of what a line is. A line may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mark {
    Blank,
    Brace,
    Comment,
    Import,
    Signature,
    Heading,
    Failure,
    Trivial,
    Assignment,
    Call,
    Quoted,
    Key,
    Path,
    Added,
    Test,
    Figure,
    Open,
    Tick,
}

impl Mark {
    /// All, in the order of the features.
    pub(super) const ALL: [Mark; 18] = [
        Mark::Blank,
        Mark::Brace,
        Mark::Comment,
        Mark::Import,
        Mark::Signature,
        Mark::Heading,
        Mark::Failure,
        Mark::Trivial,
        Mark::Assignment,
        Mark::Call,
        Mark::Quoted,
        Mark::Key,
        Mark::Path,
        Mark::Added,
        Mark::Test,
        Mark::Figure,
        Mark::Open,
        Mark::Tick,
    ];
}

const IMPORTS: [&str; 8] =
    ["import ", "from ", "use ", "using ", "#include", "require", "package ", "export {"];
const MODIFIERS: [&str; 11] = [
    "pub ",
    "pub(crate) ",
    "export ",
    "default ",
    "async ",
    "public ",
    "private ",
    "protected ",
    "static ",
    "abstract ",
    "final ",
];
const DEFINITIONS: [&str; 17] = [
    "func ",
    "def ",
    "class ",
    "fn ",
    "function ",
    "interface ",
    "type ",
    "struct ",
    "enum ",
    "trait ",
    "impl",
    "describe(",
    "it(",
    "test(",
    "module ",
    "namespace ",
    "record ",
];
const COMMENTS: [&str; 7] = ["//", "#", "/*", "*", "-- ", "<!--", "\"\"\""];
const FAILURES: [&str; 16] = [
    "fail",
    "error",
    "panic",
    "exception",
    "traceback",
    "fatal",
    "assert",
    "expected",
    "undefined",
    "cannot",
    "not found",
    "denied",
    "unexpected",
    "✗",
    "✘",
    "×",
];
/// Lines that stand in every file of some language.
const TRIVIAL: [&str; 9] = [
    "if err != nil {",
    "return err",
    "return nil, err",
    "return nil",
    "} else {",
    "continue",
    "break",
    "defer",
    "try {",
];

/// A line without the number, or path and number, in front of it.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    /// What follows them.
    pub(super) body: &'a str,
    /// The path in front of it, as `grep` has it.
    pub(super) path: Option<&'a str>,
    /// Columns before its first letter; a tab is four.
    pub(super) indent: usize,
    /// Its letters and digits.
    pub(super) letters: usize,
    marks: u32,
}

impl<'a> Line<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        let (body, path) = match numbered(line) {
            Some(body) => (body, None),
            None => located(line).map_or((line, None), |(path, body)| (body, Some(path))),
        };
        let indent = body.chars().take_while(|c| matches!(c, ' ' | '\t'));
        let indent = indent.map(|c| if c == '\t' { 4 } else { 1 }).sum();
        let letters = body.chars().filter(|c| c.is_alphanumeric()).count();
        let mut line = Self { body, path, indent, letters, marks: 0 };
        let lower = body.to_lowercase();
        let own = Mark::ALL.into_iter().filter(|mark| line.is(*mark, &lower));
        line.marks = own.fold(0, |marks, mark| marks | 1 << mark as u8);
        line
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        self.marks & (1 << mark as u8) != 0
    }

    fn is(&self, mark: Mark, lower: &str) -> bool {
        let (body, text) = (self.body, self.body.trim());
        let begins = |with: &[&str]| with.iter().any(|word| text.starts_with(word));
        let holds = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        match mark {
            Mark::Blank => text.is_empty(),
            Mark::Brace => !text.is_empty() && self.letters < SHORT,
            Mark::Comment => begins(&COMMENTS) && !text.starts_with("#include"),
            Mark::Import => begins(&IMPORTS),
            Mark::Signature => is_signature(text),
            Mark::Heading => is_heading(text),
            Mark::Failure => holds(&FAILURES),
            Mark::Trivial => TRIVIAL.contains(&text),
            Mark::Assignment => is_assignment(text),
            Mark::Call => text.contains('('),
            Mark::Quoted => text.contains(['"', '\'', '`']),
            Mark::Key => is_key(text),
            Mark::Path => {
                let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
                text.as_bytes().windows(3).any(|w| matches!(w, [a, b'/', b] if word(*a) && word(*b)))
            }
            Mark::Added => body.starts_with('+'),
            Mark::Test => holds(&["test", "assert", "expect("]),
            Mark::Figure => text.bytes().any(|byte| byte.is_ascii_digit()),
            Mark::Open => text.ends_with(['{', '(', '[', ':']),
            Mark::Tick => text.contains('`'),
        }
    }
}

/// What follows a line number: `   12→`, `12:`, `12|`.
fn numbered(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix('L').unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let rest = rest.get(digits..).filter(|_| (1..=DIGITS).contains(&digits))?;
    if let Some(rest) = rest.strip_prefix('→').or_else(|| rest.strip_prefix('\t')) {
        return Some(rest);
    }
    let rest = rest.strip_prefix([':', '-', '|'])?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// The path and what follows its line number: `src/a.rs:12:`, `src/a.rs-12-`.
fn located(line: &str) -> Option<(&str, &str)> {
    let named = |path: &str| path.contains(['/', '.']) && !path.contains(char::is_whitespace);
    for mark in [':', '-'] {
        for (at, _) in line.match_indices(mark).take(16) {
            let (path, rest) = (line.get(..at)?, line.get(at + 1..)?);
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let body = rest.get(digits..).and_then(|rest| rest.strip_prefix([':', '-']));
            if let Some(body) = body.filter(|_| digits > 0 && named(path)) {
                return Some((path, body));
            }
        }
    }
    None
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while let Some(next) = MODIFIERS.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = next;
    }
    DEFINITIONS.iter().any(|word| rest.starts_with(word))
        || rest.starts_with("const ") && (rest.contains("=>") || rest.contains("= ("))
}

fn is_heading(text: &str) -> bool {
    let level = text.bytes().take_while(|byte| *byte == b'#').count();
    (1..=6).contains(&level) && text.as_bytes().get(level) == Some(&b' ')
        || text.len() > 4 && text.starts_with("**") && text.trim_end_matches(':').ends_with("**")
        || text.len() > 2 && text.bytes().all(|byte| byte == b'=')
}

fn is_assignment(text: &str) -> bool {
    let operator = |byte: u8| matches!(byte, b'=' | b'!' | b'<' | b'>');
    text.contains(":=")
        || text.as_bytes().windows(3).any(|w| matches!(w, [a, b'=', b] if !operator(*a) && *b != b'='))
}

fn is_key(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'']);
    let rest = text.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    rest.len() < text.len() && rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':')
}

/// The words of a text: runs of letters, digits and `_` that do not begin with a digit, and long numbers.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        word.len() >= SHORT && (!digits || word.len() > SHORT)
    })
}

/// The parts of a word, by its capitals, digits and `_`: `readHTTPBody_2nd` has read, HTTP, Body, 2 and nd.
pub(super) fn parts(word: &str) -> Vec<&str> {
    #[derive(PartialEq, Clone, Copy)]
    enum Class {
        Lower,
        Upper,
        Digit,
        Other,
    }
    let class = |c: char| match c {
        _ if c.is_numeric() => Class::Digit,
        '_' => Class::Other,
        _ if c.is_uppercase() => Class::Upper,
        _ => Class::Lower,
    };
    let chars: Vec<(usize, Class)> = word.char_indices().map(|(at, c)| (at, class(c))).collect();
    let mut cuts = vec![0];
    for (index, pair) in chars.windows(2).enumerate() {
        let &[(_, before), (at, this)] = pair else { continue };
        let next = chars.get(index + 2).map(|(_, class)| *class);
        let new = match (before, this) {
            (Class::Upper, Class::Lower) => false,
            (Class::Upper, Class::Upper) => next == Some(Class::Lower),
            _ => before != this,
        };
        if new {
            cuts.push(at);
        }
    }
    cuts.push(word.len());
    let parts = cuts.windows(2).filter_map(|cut| word.get(*cut.first()?..*cut.last()?));
    parts.filter(|part| part.len() >= SHORT && !part.contains('_')).collect()
}

/// Whether a word is put together of several, as names in programs are.
pub(super) fn is_compound(word: &str) -> bool {
    word.contains('_')
        || word.bytes().any(|byte| byte.is_ascii_digit())
        || word
            .as_bytes()
            .windows(2)
            .any(|w| matches!(w, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_numbers_and_paths() {
        assert_eq!(Line::of("    40→\tlet x = 1;").body, "\tlet x = 1;");
        assert_eq!(Line::of("12: let x").body, "let x");
        let found = Line::of("src/a.rs:12:    fn open() {");
        assert_eq!((found.path, found.body, found.indent), (Some("src/a.rs"), "    fn open() {", 4));
        assert_eq!(Line::of("src/a-b.rs-7-}").path, Some("src/a-b.rs"));
        let plain = Line::of("at 12:30 we met");
        assert_eq!((plain.path, plain.body), (None, "at 12:30 we met"));
    }

    #[test]
    fn marks_tell_kinds_of_lines() {
        let has = |line: &str, mark| Line::of(line).has(mark);
        assert!(has("pub async fn open() {", Mark::Signature) && has("pub async fn open() {", Mark::Open));
        assert!(!has("let function = 1;", Mark::Signature));
        assert!(has("a == b", Mark::Call) || !has("a == b", Mark::Assignment));
        assert!(has("a = b", Mark::Assignment));
        assert!(has("   3→", Mark::Blank) && has("   3→}", Mark::Brace));
        assert!(has("\"name\": 1", Mark::Key) && !has("name", Mark::Key));
    }

    #[test]
    fn words_have_parts() {
        assert_eq!(parts("readHTTPBody_2nd"), ["read", "HTTP", "Body"]);
        assert_eq!(words("a.openFile(x1y) 12 1234").collect::<Vec<_>>(), ["openFile", "x1y", "1234"]);
        assert!(parts("").is_empty());
    }
}
