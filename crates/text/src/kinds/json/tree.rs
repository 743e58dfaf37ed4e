//! JSON as a flat list of nodes in document order. The reader checks the full grammar, builds no values, and
//! keeps its own stack, so the depth does not matter. It accepts `NaN` and `Infinity`, which Python writes.

use super::{literal, opaque};

/// Strings in arrays may be records of their own; elsewhere, strings shorter than this get no node.
const STRING: usize = opaque::MIN;
/// Minimum number of lines of JSON Lines.
const LINES: u32 = 3;

/// An object with at least this many members, either all short strings or all numbers, is a map from names to
/// values: its members may be records of their own. With fewer, it is more likely the settings of one thing.
const MAP: u32 = 24;

/// Maximum depth; deeper documents are an attack on memory.
const DEPTH: usize = 1 << 20;

/// The kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The lines of JSON Lines.
    Lines,
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string that is kept as it is.
    Short,
    /// A long string to be split.
    Text,
    /// A string containing JSON that can be shortened.
    Nested,
    /// A string that is meaningless when split.
    Opaque,
    /// A long string that is kept for another reason.
    Fixed,
}

/// A container or a string. Offsets are bytes of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Offset of its first byte.
    pub start: u32,
    /// Offset after its last byte.
    pub end: u32,
    /// Offset of its key; `start` if it has none.
    pub key: u32,
    /// Index of the next node outside this one.
    pub next: u32,
    /// Number of its elements or members of any kind.
    pub items: u32,
    /// Number of elements among them that may be records.
    pub parts: u32,
    /// Bytes of opaque strings in it.
    pub opaque: u32,
    /// What it is.
    pub kind: Kind,
    /// Whether it is or contains a string to be split.
    pub has_text: bool,
    /// Whether it is or contains a container whose elements may be dropped.
    pub has_group: bool,
}

impl Node {
    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it is an object or an array.
    pub(super) fn is_container(&self) -> bool {
        matches!(self.kind, Kind::Object | Kind::Array | Kind::Lines)
    }
}

/// A document.
pub(super) struct Tree {
    /// Its nodes in document order; the first is the root.
    pub nodes: Vec<Node>,
    /// A key for notes that no object in the document has.
    pub note_key: String,
    /// Whether colons are followed by a space.
    pub spaced: bool,
}

impl Tree {
    /// Reads a document or JSON Lines. A single string is accepted only if it has escapes, or if `strings` is
    /// set.
    pub(super) fn read(text: &str, strings: bool) -> Option<Self> {
        u32::try_from(text.len()).ok()?;
        let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let mut reader = Reader::new(text);
        let end = reader.value(start);
        if end.is_some_and(|end| reader.space(end) == text.len()) {
            let root = *reader.nodes.first()?;
            let inner = text.get(root.start as usize..root.end as usize)?;
            return (root.is_container() || strings || inner.contains('\\')).then(|| reader.tree());
        }
        Self::lines(text, start)
    }

    fn lines(text: &str, start: usize) -> Option<Self> {
        let mut reader = Reader::new(text);
        let root = reader.node(Kind::Lines, 0, 0);
        reader.open.push(root);
        let (mut good, mut odd) = (0_u32, 0);
        let mut at = start;
        while at < text.len() {
            let rest = text.get(at..)?;
            let end = at + rest.find('\n').unwrap_or(rest.len());
            reader.bytes = text.as_bytes();
            let first = reader.space(at);
            if first < end {
                let before = reader.nodes.len();
                reader.bytes = text.as_bytes().get(..end)?;
                let json = matches!(text.as_bytes().get(first), Some(b'{' | b'['))
                    && reader.value(first).is_some_and(|to| reader.space(to) == end);
                if json {
                    good += 1;
                } else {
                    reader.nodes.truncate(before);
                    reader.open.truncate(1);
                    odd += 1;
                    // Text of another kind need not be read to its end.
                    if good < LINES && odd > LINES {
                        return None;
                    }
                }
            }
            at = end + 1;
        }
        if good < LINES || odd > (good / 10).max(1) {
            return None;
        }
        reader.close(root, text.len());
        let root = reader.nodes.first_mut()?;
        (root.items, root.parts) = (good, good);
        Some(reader.tree())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    nodes: Vec<Node>,
    open: Vec<u32>,
    spaced: Option<bool>,
    /// One more than the greatest number of leading underscores of a key like the one for notes.
    underscores: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    CommaOrEnd,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            text,
            nodes: Vec::new(),
            open: Vec::new(),
            spaced: None,
            underscores: 0,
        }
    }

    fn tree(self) -> Tree {
        let note_key = "_".repeat(self.underscores) + "omitted";
        Tree { nodes: self.nodes, note_key, spaced: self.spaced.unwrap_or(true) }
    }

    /// Reads the value at `at`; returns its end.
    fn value(&mut self, at: usize) -> Option<usize> {
        let base = self.open.len();
        let mut at = at;
        let mut due = Due::Value;
        let mut key = None;
        loop {
            at = self.space(at);
            let byte = *self.bytes.get(at)?;
            match (due, byte) {
                (Due::Value | Due::ValueOrEnd, b'{' | b'[') => {
                    let kind = if byte == b'{' { Kind::Object } else { Kind::Array };
                    self.count(true);
                    let node = self.node(kind, key.take().unwrap_or(at), at);
                    self.open.push(node);
                    if self.open.len() > DEPTH {
                        return None;
                    }
                    due = if byte == b'{' { Due::KeyOrEnd } else { Due::ValueOrEnd };
                    at += 1;
                }
                (Due::ValueOrEnd | Due::CommaOrEnd, b']') | (Due::KeyOrEnd | Due::CommaOrEnd, b'}') => {
                    let kind = if byte == b']' { Kind::Array } else { Kind::Object };
                    let node = self.open.pop().filter(|_| self.open.len() >= base)?;
                    if self.nodes.get(node as usize)?.kind != kind {
                        return None;
                    }
                    at += 1;
                    self.close(node, at);
                    due = Due::CommaOrEnd;
                }
                (Due::Value | Due::ValueOrEnd, b'"') => {
                    let end = string_end(self.bytes, at)?;
                    let element = self.parent() != Some(Kind::Object);
                    self.count(element);
                    if element || end - at > STRING {
                        let node = self.node(Kind::Short, key.take().unwrap_or(at), at);
                        self.close(node, end);
                    }
                    key = None;
                    at = end;
                    due = Due::CommaOrEnd;
                }
                (Due::Value | Due::ValueOrEnd, _) => {
                    at = word_end(self.bytes, at)?;
                    self.count(false);
                    key = None;
                    due = Due::CommaOrEnd;
                }
                (Due::Key | Due::KeyOrEnd, b'"') => {
                    key = Some(at);
                    at = self.key(at)?;
                    due = Due::Value;
                }
                (Due::CommaOrEnd, b',') => {
                    due = if self.parent() == Some(Kind::Object) { Due::Key } else { Due::Value };
                    at += 1;
                }
                _ => return None,
            }
            if due == Due::CommaOrEnd && self.open.len() == base {
                return Some(at);
            }
        }
    }

    /// Reads a key and its colon.
    fn key(&mut self, at: usize) -> Option<usize> {
        let end = string_end(self.bytes, at)?;
        let colon = self.space(end);
        if *self.bytes.get(colon)? != b':' {
            return None;
        }
        self.spaced.get_or_insert(self.bytes.get(colon + 1).is_some_and(u8::is_ascii_whitespace));
        let inner = self.text.get(at + 1..end - 1)?;
        if inner.len() < 100
            && let Some(name) = literal::decode(inner)
        {
            let bare = name.trim_start_matches('_');
            if bare.starts_with("omitted") {
                self.underscores = self.underscores.max(name.len() - bare.len() + 1);
            }
        }
        Some(colon + 1)
    }

    fn parent(&self) -> Option<Kind> {
        Some(self.nodes.get(*self.open.last()? as usize)?.kind)
    }

    /// Counts a value in its container.
    fn count(&mut self, part: bool) {
        if let Some(parent) = self.open.last().and_then(|&i| self.nodes.get_mut(i as usize)) {
            parent.items += 1;
            parent.parts += u32::from(part);
        }
    }

    fn node(&mut self, kind: Kind, key: usize, start: usize) -> u32 {
        let index = offset(self.nodes.len());
        self.nodes.push(Node {
            start: offset(start),
            end: offset(start),
            key: offset(key),
            next: index + 1,
            items: 0,
            parts: 0,
            opaque: 0,
            kind,
            has_text: false,
            has_group: false,
        });
        index
    }

    fn close(&mut self, index: u32, end: usize) {
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        node.end = offset(end);
        // The content of small containers is never needed, and most containers are small.
        if node.len() < STRING {
            self.nodes.truncate(index as usize + 1);
        } else if node.kind == Kind::Object && node.items >= MAP && self.nodes.len() == index as usize + 1 {
            self.map(index, end);
        }
        let next = offset(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.next = next;
        }
    }

    /// Gives the members of an object their own nodes, if it is a map.
    fn map(&mut self, index: u32, end: usize) {
        let Some(&node) = self.nodes.get(index as usize) else { return };
        let mut members = Vec::new();
        let mut at = node.start as usize + 1;
        for _ in 0..node.items {
            let key = self.space(at);
            let Some(colon) = string_end(self.bytes, key).map(|end| self.space(end)) else { return };
            let value = self.space(colon + 1);
            let is_string = self.bytes.get(value) == Some(&b'"');
            let is_number = self.bytes.get(value).is_some_and(|b| *b == b'-' || b.is_ascii_digit());
            let behind = if is_string { string_end(self.bytes, value) } else { word_end(self.bytes, value) };
            let Some(behind) = behind.filter(|behind| *behind <= end) else { return };
            if !(is_string || is_number) || members.last().is_some_and(|(_, _, _, other)| *other != is_string)
            {
                return;
            }
            members.push((key, value, behind, is_string));
            // After the comma.
            at = self.space(behind) + 1;
        }
        for (key, value, behind, _) in members {
            let member = self.node(Kind::Short, key, value);
            if let Some(node) = self.nodes.get_mut(member as usize) {
                node.end = offset(behind);
            }
        }
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.parts = node.items;
        }
    }

    fn space(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count()
    }
}

/// Converts an offset; the reader accepts no text for which this could overflow.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The offset after the string that starts at `quote`.
pub(super) fn string_end(bytes: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match *bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            ..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// The offset after the number or name that starts at `at`.
pub(super) fn word_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
    let word = rest.get(..length)?;
    let known = matches!(word, b"true" | b"false" | b"null" | b"NaN" | b"Infinity" | b"-Infinity");
    (known || is_number(word)).then_some(at + length)
}

fn is_number(word: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = word.strip_prefix(b"-").unwrap_or(word);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    if let Some(power) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let power = power.strip_prefix(b"-").or_else(|| power.strip_prefix(b"+")).unwrap_or(power);
        return digits(power) == power.len() && !power.is_empty();
    }
    rest.is_empty()
}
