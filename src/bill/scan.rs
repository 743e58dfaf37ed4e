//! Finds one value in JSON that passes by in pieces, without keeping the rest.
//!
//! An answer may be many megabytes long and its text may say `"usage"`, so neither keeping its end nor
//! searching for the word would do. This walks the JSON byte by byte, knows where strings begin and end and
//! how deep it is, and keeps only the value at a path of at most two keys.

/// Most bytes of a value that are kept. Usage takes some hundred.
const LARGEST: usize = 64 << 10;
/// Most bytes of a key that are kept; a longer one is on no path.
const LONGEST_KEY: usize = 16;
/// Keys in the longest path.
const DEEPEST: usize = 2;

/// A path of keys from the outermost object.
pub(super) type Path = &'static [&'static str];

/// Where the walk is.
#[derive(Debug)]
pub(super) struct Scan {
    paths: &'static [Path],
    /// Open objects and arrays.
    depth: usize,
    /// Whether the outermost containers are objects.
    objects: [bool; DEEPEST],
    /// The keys that led here, one for each of these objects.
    keys: [Key; DEEPEST],
    /// Whether the next string at this depth is a key.
    expects_key: bool,
    string: Option<Text>,
    /// A key on a path has been read, and its value comes next.
    armed: bool,
    /// The depth around the value that is being kept.
    keeping: Option<usize>,
    kept: Vec<u8>,
}

/// The string that the walk is in.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Text {
    is_key: bool,
    escaped: bool,
}

/// The beginning of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    bytes: [u8; LONGEST_KEY],
    len: usize,
}

impl Key {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    fn is(&self, name: &str) -> bool {
        self.bytes.get(..self.len) == Some(name.as_bytes())
    }
}

impl Scan {
    /// A walk that keeps objects at these paths.
    pub(super) fn new(paths: &'static [Path]) -> Self {
        Self {
            paths,
            depth: 0,
            objects: [false; DEEPEST],
            keys: [Key::default(); DEEPEST],
            expects_key: false,
            string: None,
            armed: false,
            keeping: None,
            kept: Vec::new(),
        }
    }

    /// Forgets what was read: another JSON value begins.
    pub(super) fn reset(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        *self = Self { kept, ..Self::new(self.paths) };
        self.kept.clear();
    }

    /// Whether no value is open.
    pub(super) fn is_at_rest(&self) -> bool {
        self.depth == 0 && self.string.is_none()
    }

    /// Reads on; `found` gets every object at a path.
    pub(super) fn feed(&mut self, bytes: &[u8], found: &mut impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            // Most bytes of an answer are text, which needs no more than a search for its end.
            if self.string == Some(Text { is_key: false, escaped: false }) && self.keeping.is_none() {
                let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                let Some((_, from)) = end.and_then(|end| rest.split_at_checked(end)) else { return };
                rest = from;
                let Some((&byte, behind)) = rest.split_first() else { return };
                self.within(byte);
                rest = behind;
                continue;
            }
            rest = behind;
            if self.keeping.is_some() {
                if self.kept.len() < LARGEST {
                    self.kept.push(byte);
                } else {
                    self.keeping = None;
                }
            }
            if self.string.is_some() { self.within(byte) } else { self.outside(byte, found) }
        }
    }

    /// A byte within a string.
    fn within(&mut self, byte: u8) {
        let Some(text) = &mut self.string else { return };
        match byte {
            _ if text.escaped => text.escaped = false,
            b'\\' => text.escaped = true,
            b'"' => {
                if text.is_key {
                    self.armed = self.is_on_path();
                    self.expects_key = false;
                }
                self.string = None;
                return;
            }
            _ => {}
        }
        if text.is_key
            && let Some(key) = self.depth.checked_sub(1).and_then(|at| self.keys.get_mut(at))
        {
            key.push(byte);
        }
    }

    /// A byte between strings.
    fn outside(&mut self, byte: u8, found: &mut impl FnMut(&[u8])) {
        match byte {
            b'"' => {
                self.string = Some(Text { is_key: self.expects_key, escaped: false });
                if self.expects_key
                    && let Some(key) = self.depth.checked_sub(1).and_then(|at| self.keys.get_mut(at))
                {
                    *key = Key::default();
                } else {
                    self.armed = false;
                }
            }
            b'{' | b'[' => {
                if self.armed && byte == b'{' {
                    self.keeping = Some(self.depth);
                    self.kept.clear();
                    self.kept.push(byte);
                }
                self.armed = false;
                if let Some(object) = self.objects.get_mut(self.depth) {
                    *object = byte == b'{';
                }
                self.depth = self.depth.saturating_add(1);
                self.expects_key = self.is_in_object();
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.armed = false;
                self.expects_key = false;
                if self.keeping == Some(self.depth) {
                    self.keeping = None;
                    found(&self.kept);
                }
            }
            b',' => {
                self.armed = false;
                self.expects_key = self.is_in_object();
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => self.armed = false,
        }
    }

    /// Whether the innermost container is an object whose keys may be on a path.
    fn is_in_object(&self) -> bool {
        self.depth.checked_sub(1).and_then(|at| self.objects.get(at)).is_some_and(|object| *object)
    }

    /// Whether the keys down to here are one of the paths.
    fn is_on_path(&self) -> bool {
        // Within an array, or an object that is no value of a key on the way, the outer key cannot lead here.
        if !self.objects.iter().take(self.depth).all(|object| *object) {
            return false;
        }
        let is_path = |path: &&Path| {
            path.len() == self.depth && path.iter().zip(&self.keys).all(|(name, key)| key.is(name))
        };
        self.paths.iter().any(|path| is_path(&path))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PATHS: &[Path] = &[&["usage"], &["message", "usage"]];

    fn scanned(pieces: &[&[u8]]) -> Vec<Value> {
        let mut scan = Scan::new(PATHS);
        let mut found = Vec::new();
        for piece in pieces {
            scan.feed(piece, &mut |bytes: &[u8]| found.push(serde_json::from_slice(bytes).unwrap()));
        }
        found
    }

    #[test]
    fn only_the_value_at_the_path_is_found() {
        let text = r#"{"a":"\"usage\":{\"x\":1}","usage ":{"x":2},"b":{"usage":{"x":3}},"c":[{"usage":{"x":4}}],
            "message":[{"usage":{"x":5}}],"usage" : {"x":6,"deep":{"usage":{"x":7}},"s":"}\\"} ,
            "message":{"content":[{"usage":{"x":8}}],"usage":{"x":9}},"d":"usage","e":{"x":10},"usage":null}"#;
        assert_eq!(
            scanned(&[text.as_bytes()]),
            [json!({"x":6,"deep":{"usage":{"x":7}},"s":"}\\"}), json!({"x":9})]
        );
        assert!(scanned(&[br#"[{"usage":{"x":1}}]"#]).is_empty());
        assert!(scanned(&[br#"{"usage":[{"x":1}],"a":1}"#]).is_empty());
        assert!(scanned(&[br#"{"usageusageusageusage":{"x":1}}"#]).is_empty());
        assert!(scanned(&[br#"{"a":"usage","b":[],"c":{"x":1}}"#]).is_empty());
    }

    #[test]
    fn a_value_without_end_is_not_kept() {
        let mut scan = Scan::new(PATHS);
        let mut count = 0;
        scan.feed(b"{\"usage\":{\"a\":\"", &mut |_: &[u8]| count += 1);
        for _ in 0..64 {
            scan.feed(&[b'x'; 4096], &mut |_: &[u8]| count += 1);
        }
        assert!(scan.kept.len() <= LARGEST && !scan.is_at_rest());
        scan.feed(b"\"},\"usage\":{\"b\":1}}", &mut |_: &[u8]| count += 1);
        assert_eq!(count, 1);
        assert!(scan.is_at_rest());
    }

    fn tree() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec!["usage", "message", "a", "us\"age", "\\"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\]:,é]{0,12}".prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 64, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| {
                    Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(value in tree(), pretty: bool, step in 1usize..7) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let expected: Vec<Value> = ["/message/usage", "/usage"]
                .iter()
                .filter_map(|path| value.pointer(path))
                // A pointer also goes through arrays, but not by a name.
                .filter(|value| value.is_object())
                .cloned()
                .collect();
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(step).collect();
            prop_assert_eq!(scanned(&pieces), expected);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            scanned_quietly(&bytes);
        }
    }

    fn scanned_quietly(bytes: &[u8]) {
        let mut scan = Scan::new(PATHS);
        scan.feed(bytes, &mut |_: &[u8]| {});
        scan.reset();
        assert!(scan.is_at_rest());
    }
}
