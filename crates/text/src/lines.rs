//! Recognises single lines: blank, heading, fence, list item, table row, log record, label.

/// A line and its position.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Offset of its first byte.
    pub start: usize,
    /// Its text, without the line break.
    pub text: &'a str,
}

/// A code fence: three or more backticks or tildes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    mark: u8,
    length: usize,
    bare: bool,
}

impl Fence {
    /// Whether every line that closes this fence would also close `other`.
    pub fn closers_subsume(&self, other: &Fence) -> bool {
        self.mark == other.mark && self.length >= other.length
    }

    /// Whether this line closes the block opened by `open`.
    pub fn closes(&self, open: &Fence) -> bool {
        self.mark == open.mark && self.length >= open.length && self.bare
    }
}

/// The lines of a text.
pub fn lines(text: &str) -> Vec<Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|whole| {
            let line = Line { start, text: whole.trim_end_matches(['\n', '\r']) };
            start += whole.len();
            line
        })
        .collect()
}

/// Maximum bytes of a line to examine.
const LOOK: usize = 400;

impl<'a> Line<'a> {
    /// Whether the line has only white space.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    fn look(&self) -> &'a str {
        let trimmed = self.text.trim_start();
        &trimmed[..trimmed.floor_char_boundary(LOOK)]
    }

    fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start().len()
    }

    /// Indentation in columns; a tab counts as four.
    fn column(&self) -> usize {
        let space = self.text.chars().take_while(|c| c.is_whitespace());
        space.map(|c| if c == '\t' { 4 } else { 1 }).sum()
    }

    /// A code fence.
    pub fn fence(&self) -> Option<Fence> {
        let text = self.text.trim_start();
        let mark = *text.as_bytes().first()?;
        if mark != b'`' && mark != b'~' {
            return None;
        }
        let length = text.bytes().take_while(|b| *b == mark).count();
        let info = &text[length..];
        (length >= 3 && !info.contains('`')).then(|| Fence { mark, length, bare: info.trim().is_empty() })
    }

    /// Level of a Markdown heading with `#` signs; with an indent of four columns it is code.
    pub fn atx_level(&self) -> Option<u8> {
        if self.column() >= 4 {
            return None;
        }
        let text = self.look();
        let level = text.bytes().take_while(|b| *b == b'#').count();
        let rest = &text[level..];
        ((1..=6).contains(&level) && rest.starts_with([' ', '\t']) && !rest.trim().is_empty())
            .then_some(level as u8)
    }

    /// The heading level of the line above, if this line underlines it.
    pub fn setext_level(&self) -> Option<u8> {
        let text = self.text.trim();
        let all = |mark: u8| text.len() >= 3 && text.bytes().all(|b| b == mark);
        if all(b'=') {
            Some(1)
        } else if all(b'-') {
            Some(2)
        } else {
            None
        }
    }

    /// Level of a heading without markup: short, capitalised, without a final full stop.
    pub fn plain_heading_level(&self) -> Option<u8> {
        let text = self.text.trim();
        let open = text.ends_with(['.', ',', ';', '?', '!', '"', '”', '|', '>', ')']) || text.len() > 80;
        let words: Vec<&str> = text.split_whitespace().collect();
        if open || words.is_empty() || words.len() > 10 || self.list_marker().is_some_and(|_| words.len() < 2)
        {
            return None;
        }
        let numbered = words[0]
            .trim_end_matches('.')
            .split('.')
            .all(|part| !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit()));
        let title: &[&str] = if numbered { &words[1..] } else { &words };
        let first = title.first()?.chars().next()?;
        if !first.is_uppercase() || text.ends_with(':') && title.len() < 2 {
            return None;
        }
        let capitals = title.iter().filter(|w| w.chars().next().is_some_and(char::is_uppercase)).count();
        let long_words = title.iter().filter(|w| w.len() > 3).count();
        if numbered {
            Some(words[0].trim_end_matches('.').split('.').count().min(6) as u8)
        } else if !text.chars().any(char::is_lowercase) {
            Some(2)
        } else {
            (capitals * 2 > title.len() || capitals >= long_words).then_some(3)
        }
    }

    /// Length in bytes of a list marker, including the space after it.
    pub fn list_marker(&self) -> Option<usize> {
        let text = self.look();
        let mut chars = text.chars();
        let first = chars.next()?;
        let marker = if matches!(first, '-' | '*' | '+' | '•' | '–' | '◦') {
            first.len_utf8()
        } else {
            let open = usize::from(first == '(');
            let body = text[open..].bytes().take_while(u8::is_ascii_alphanumeric).count();
            let bytes = &text.as_bytes()[open..open + body];
            let counts = body > 0
                && (bytes.iter().all(u8::is_ascii_digit) && body <= 3
                    || body == 1 && bytes[0].is_ascii_lowercase());
            let close = text[open + body..].chars().next()?;
            if !counts || !(close == ')' || close == '.' && open == 0) {
                return None;
            }
            open + body + 1
        };
        text[marker..].starts_with([' ', '\t']).then_some(marker + 1)
    }

    /// Whether the line continues the list item above it: indented, and not an item itself.
    pub fn continues_item(&self) -> bool {
        !self.is_blank() && self.indent() >= 2 && self.list_marker().is_none() && self.fence().is_none()
    }

    /// Whether it is a row of a Markdown table or of tab-separated values.
    pub fn is_table_row(&self) -> bool {
        let text = self.look();
        text.starts_with('|') && text[1..].contains('|') || text.matches('\t').count() >= 2
    }

    /// Number of fields in a row of comma- or semicolon-separated values; `None` if it does not look like
    /// one. Separators in quotation marks do not count, and a separator before white space is punctuation.
    pub fn fields(&self, separator: u8) -> Option<usize> {
        let bytes = self.text.trim_end().as_bytes();
        let (mut quoted, mut count) = (false, 0);
        for (at, byte) in bytes.iter().enumerate() {
            quoted ^= *byte == b'"';
            if *byte == separator && !quoted {
                if bytes.get(at + 1).is_some_and(u8::is_ascii_whitespace) {
                    return None;
                }
                count += 1;
            }
        }
        (count >= 2 && !quoted).then_some(count + 1)
    }

    /// Whether it is the rule under a Markdown table's header.
    pub fn is_table_rule(&self) -> bool {
        let text = self.text.trim();
        text.contains('-') && text.starts_with('|') && text.bytes().all(|b| b"|-: \t".contains(&b))
    }

    /// Whether it begins a log record: it starts with a timestamp, an address or a level.
    pub fn is_log(&self) -> bool {
        let text = self.look().trim_start_matches('[').trim_start();
        let shape: String = text.chars().take(19).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        let stamped = ["9999-99-99T99:99:99", "9999-99-99 99:99:99", "9999/99/99 99:99:99"]
            .contains(&shape.as_str())
            || shape.starts_with("99:99:99.")
            || shape.starts_with("99:99:99,");
        let syslog = shape.len() >= 15 && {
            let b = shape.as_bytes();
            b[0].is_ascii_uppercase()
                && b[1].is_ascii_lowercase()
                && b[3] == b' '
                && &b[6..15] == b" 99:99:99"
        };
        stamped || syslog || begins_with_level(text) || begins_with_counter(text)
    }

    /// Whether the line continues the log record above it: a stack frame or an indented detail.
    pub fn is_log_continuation(&self) -> bool {
        !self.is_blank()
            && !self.is_log()
            && (self.indent() >= 1
                || self.text.starts_with("Caused by")
                || self.text.starts_with("Traceback"))
    }

    /// Length in bytes of a label at the start of the line, including the space after it: the name of a
    /// passage (`Document [3](Title: ...)`, `Passage 2:`) or of a speaker (`Grad A:`).
    pub fn label(&self) -> usize {
        let indent = self.indent();
        let text = self.look();
        let length = passage_label(text).or_else(|| speaker_label(text)).unwrap_or(0);
        let behind = &text[length..];
        if length == 0 { 0 } else { indent + length + (behind.len() - behind.trim_start().len()) }
    }
}

/// Whether it begins with the name of a log level.
fn begins_with_level(text: &str) -> bool {
    ["INFO", "WARN", "WARNING", "ERROR", "DEBUG", "TRACE", "FATAL", "CRITICAL"]
        .iter()
        .any(|level| text.strip_prefix(level).is_some_and(|rest| rest.starts_with([' ', ':', ']', '\t'])))
}

/// Groups of digits: the time since the start (`12.345678]`, `0.04.035.940`), a client address
/// (`127.0.0.1 - `, `127.0.0.1:80`), or the time of day before a level. Not a section number, a date or a
/// version; nor a time alone, as in a call's transcript.
fn begins_with_counter(text: &str) -> bool {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let since_start = word.strip_suffix(']').and_then(|word| word.split_once('.'));
    if since_start.is_some_and(|(s, us)| us.len() == 6 && [s, us].iter().all(|part| digits(part))) {
        return true;
    }
    let groups = |text: &str, mark: char| -> Vec<usize> {
        let parts: Vec<&str> = text.split(mark).collect();
        if parts.iter().all(|part| digits(part)) {
            parts.iter().map(|part| part.len()).collect()
        } else {
            vec![]
        }
    };
    if let [_, 2, 2] = groups(word.trim_end_matches([',', ']', ':']), ':')[..] {
        return begins_with_level(rest.trim_start_matches(['[', ' ']));
    }
    let (address, port) = word.split_once(':').map_or((word, None), |(address, port)| (address, Some(port)));
    match groups(address, '.')[..] {
        [_, 2, 3, 3] => true,
        [1..=3, 1..=3, 1..=3, 1..=3] => port.is_some_and(digits) || rest.starts_with("- "),
        _ => false,
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn passage_label(text: &str) -> Option<usize> {
    let word = ["Document", "Passage", "Source", "Context", "Article"]
        .iter()
        .find(|word| text.starts_with(**word))?;
    let rest = &text[word.len()..];
    let space = rest.len() - rest.trim_start_matches(' ').len();
    let rest = &rest[space..];
    let open = usize::from(rest.starts_with('['));
    let digits = rest[open..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let mut end = word.len() + space + open + digits;
    if open == 1 {
        if !text[end..].starts_with(']') {
            return None;
        }
        end += 1;
    }
    let rest = &text[end..];
    let spaces = rest.len() - rest.trim_start_matches(' ').len();
    if rest[spaces..].starts_with('(') {
        let mut depth = 0_i32;
        for (i, c) in rest[spaces..].char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let end = end + spaces + i + 1;
                return Some(end + usize::from(text[end..].starts_with(':')));
            }
        }
        return None;
    }
    rest.starts_with([':', '.']).then_some(end + 1)
}

fn speaker_label(text: &str) -> Option<usize> {
    let colon = text.char_indices().take(40).find(|(_, c)| *c == ':')?.0;
    let name = &text[..colon];
    let plain = |c: char| c.is_alphanumeric() || " .'’-_()&".contains(c);
    let words = name.split_whitespace().count();
    // `He said: no.` is a sentence: the last word of a name of several words does not begin with a lower-case
    // letter.
    let ends_small =
        name.split_whitespace().next_back().is_some_and(|word| word.starts_with(char::is_lowercase));
    let capital = !ends_small && name.chars().next().is_some_and(char::is_uppercase);
    let spaced = text[colon + 1..].starts_with(' ');
    (capital && spaced && words <= 4 && name.chars().all(plain) && text.len() > colon + 2)
        .then_some(colon + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line { start: 0, text }
    }

    #[test]
    fn labels() {
        assert_eq!(line("Document [3](Title: Health (gaming)) Health is").label(), 37);
        assert_eq!(line("Passage 12: It was").label(), 12);
        assert_eq!(line("Grad A: OK , we 're on .").label(), 8);
        assert_eq!(line("Delyth Jewell AM: Thank you.").label(), 18);
        assert_eq!(line("Speaker 2: Well.").label(), 11);
        assert_eq!(line("Ludwig van Beethoven (dead): What?").label(), 29);
        for none in [
            "Documents were read.",
            "He said: no.",
            "Main article: Hampton Roads",
            "12:30 is the time",
            "https://x.y/z",
            "Document [3",
            "",
        ] {
            assert_eq!(line(none).label(), 0, "{none}");
        }
    }

    #[test]
    fn kinds() {
        assert!(line("2026-01-02T03:04:05Z started").is_log());
        assert!(line("[2026-01-02 03:04:05,123] started").is_log());
        assert!(line("Jan  2 03:04:05 host sshd[1]: x").is_log());
        assert!(line("ERROR: no").is_log());
        for record in [
            "0.04.035.940 I init",
            "[   12.345678] usb 1-1: new",
            "127.0.0.1 - - [x]",
            "10.0.0.5:8080 GET /",
            "12:30:05 WARN up",
            "[9:15:00] [INFO] up",
        ] {
            assert!(line(record).is_log(), "{record}");
        }
        for other in [
            "Error rates fell",
            "1.2.3 Aims",
            "10.12.1.14 The Supplier shall",
            "1.234.567.890 Euro",
            "120.0.6099.109 mends it",
            "12:30 is late",
            "00:12:30 Well, first of all",
            "[00:12:30] Ann: Thank you.",
            "1,234,567 died",
            "1.234.567 died",
            "1999.",
            "3.14",
        ] {
            assert!(!line(other).is_log(), "{other}");
        }
        assert_eq!(line("## A b").atx_level(), Some(2));
        assert_eq!(line("#hashtag").atx_level(), None);
        assert_eq!(line("    # a comment").atx_level(), None);
        assert_eq!(line("\t# a comment").atx_level(), None);
        assert_eq!(line("3.1 Model Architecture").plain_heading_level(), Some(2));
        assert_eq!(line("INTRODUCTION").plain_heading_level(), Some(2));
        assert_eq!(line("the end of it all").plain_heading_level(), None);
        for item in ["- a", "* a", "12. a", "(b) a", "a) b", "• x"] {
            assert!(line(item).list_marker().is_some(), "{item}");
        }
        for other in ["-a", "1999. The year", "e.g. this", "Mr. X", "3.14 is pi"] {
            assert!(line(other).list_marker().is_none(), "{other}");
        }
    }
}
