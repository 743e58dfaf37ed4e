//! Names of records and strings: short values, and paths of keys.

use std::ops::Range;

use super::{
    literal,
    tree::{self, Node},
};

/// Maximum number of steps of a path to name, counted from its end.
pub(super) const STEPS: usize = 6;
/// Longer values are not used as names.
const VALUE: usize = 160;
/// This many consecutive letters and digits are a hash, not a word.
const DIGEST: usize = 32;
/// Values are added until a label reaches this length.
const LABEL: usize = 240;

/// The short strings and numbers of the record at `range`, joined, except those within `skip`, which belong
/// to other records. `skip` is sorted by start.
pub(super) fn label(raw: &str, range: Range<usize>, skip: &[Range<usize>]) -> String {
    let bytes = raw.as_bytes();
    let mut label = String::new();
    let mut skip = skip.iter().peekable();
    let mut at = range.start;
    while at < range.end && label.len() < LABEL {
        if let Some(skipped) = skip.next_if(|skipped| skipped.start <= at) {
            at = at.max(skipped.end);
            continue;
        }
        match bytes.get(at) {
            Some(b'"') => {
                let end = tree::string_end(bytes, at).unwrap_or(range.end).min(range.end);
                let rest = bytes.get(end..range.end).unwrap_or_default();
                let key = rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
                let value = raw.get(at + 1..end.saturating_sub(1)).filter(|v| !key && v.len() <= VALUE);
                if let Some(value) = value.and_then(literal::decode).filter(|v| !has_digest(v)) {
                    // Names often occur twice.
                    if value.len() < 3 || !label.contains(value.as_ref()) {
                        push(&mut label, &value);
                    }
                }
                at = end;
            }
            Some(b'-' | b'0'..=b'9') => {
                let end = tree::word_end(bytes, at).unwrap_or(at + 1).min(range.end);
                push(&mut label, raw.get(at..end).unwrap_or_default());
                at = end;
            }
            _ => at += 1,
        }
    }
    label
}

/// Whether `value` contains a hash or the like.
fn has_digest(value: &str) -> bool {
    let mut words = value.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word.len() >= DIGEST && word.bytes().any(|b| b.is_ascii_digit()))
}

fn push(label: &mut String, value: &str) {
    for (index, word) in value.split_whitespace().enumerate() {
        if !label.is_empty() {
            label.push_str(if index == 0 { " | " } else { " " });
        }
        label.push_str(word);
    }
}

/// The key of a node.
pub(super) fn name(raw: &str, node: &Node) -> Option<String> {
    let key = raw.get(node.key as usize..node.start as usize)?;
    let (name, _) = key.strip_prefix('"')?.rsplit_once('"')?;
    let name = literal::decode(name).unwrap_or_default();
    Some(name.chars().take(80).map(|c| if c.is_whitespace() { ' ' } else { c }).collect())
}

/// Appends the step to `node` to a path: its key if it has one, otherwise its index.
pub(super) fn step(path: &mut String, raw: &str, node: &Node, index: usize) {
    match name(raw, node) {
        Some(name) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&name);
        }
        None => path.push_str(&format!("[{index}]")),
    }
}
