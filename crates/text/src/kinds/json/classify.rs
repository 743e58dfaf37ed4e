//! Classifies strings, and detects containers that are lists of records.

use std::collections::HashMap;

use super::{
    Cut, Virtual, literal, opaque,
    tree::{Kind, Node, Tree},
};

/// Strings longer than this many bytes when decoded are split.
const LONG: usize = 400;
/// The records of an array may be dropped if there are at least this many, with at least this many bytes:
/// with fewer, the note costs about as much as it saves.
const RECORDS: (usize, usize) = (6, 600);
/// Records shorter than this on average are not worth selecting.
const RECORD: usize = 8;
/// Alternative for fewer but longer records, such as search results: minimum number and minimum average
/// length.
const LONG_RECORDS: (usize, usize) = (3, 400);
/// An object is a list of named records if it has at least this many members with this many bytes, all of
/// them objects or arrays, or if it is a map. Smaller objects are more likely one thing with parts.
const MEMBERS: (usize, usize) = (12, 1200);

/// Classifies each string and each container. Returns the strings that contain JSON, opened, by the index of
/// their node.
pub(super) fn classify(
    raw: &str,
    nodes: &mut [Node],
    cut: Cut<'_>,
    nested: usize,
) -> HashMap<usize, Virtual> {
    let mut inners = HashMap::new();
    let mut open: Vec<usize> = Vec::new();
    for at in 0..=nodes.len() {
        while let Some(&last) = open.last()
            && nodes.get(last).is_none_or(|node| node.next as usize <= at)
        {
            open.pop();
            inherit(nodes, last, open.last().copied());
        }
        let Some(&node) = nodes.get(at) else { break };
        if node.is_container() {
            open.push(at);
            continue;
        }
        let (kind, inner) = string_kind(raw, &node, cut, nested);
        inners.extend(inner.map(|inner| (at, inner)));
        if let Some(node) = nodes.get_mut(at) {
            node.kind = kind;
            node.has_text = matches!(kind, Kind::Text | Kind::Nested);
            node.opaque = if kind == Kind::Opaque { node.end - node.start } else { 0 };
        }
        inherit(nodes, at, open.last().copied());
    }
    inners
}

/// Propagates properties of a node to its parent.
fn inherit(nodes: &mut [Node], at: usize, parent: Option<usize>) {
    let Some(node) = nodes.get_mut(at) else { return };
    node.has_group |= is_group(node);
    let node = *node;
    if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
        parent.has_text |= node.has_text;
        parent.has_group |= node.has_group;
        parent.opaque += node.opaque;
    }
}

/// The kind of a string, and its content if that is JSON.
fn string_kind(raw: &str, node: &Node, cut: Cut<'_>, nested: usize) -> (Kind, Option<Virtual>) {
    let inner = inner(raw, node);
    if inner.len() < opaque::MIN {
        return (Kind::Short, None);
    }
    let Some(text) = literal::decode(inner) else { return (Kind::Fixed, None) };
    let long = text.len() > LONG;
    if long && text.trim_start().starts_with(['{', '[']) && Tree::read(&text, false).is_some() {
        let inner = nested.checked_sub(1).and_then(|nested| super::open_at(&text, cut, nested));
        return (if inner.is_some() { Kind::Nested } else { Kind::Fixed }, inner);
    }
    let kind = match (long, text.trim().is_empty()) {
        _ if opaque::is_opaque(&text) => Kind::Opaque,
        (true, false) => Kind::Text,
        (true, true) => Kind::Fixed,
        (false, _) => Kind::Short,
    };
    (kind, None)
}

/// Whether the elements of a container may be dropped.
pub(super) fn is_group(node: &Node) -> bool {
    let (parts, bytes) = (node.parts as usize, node.len());
    match node.kind {
        Kind::Lines => true,
        Kind::Array => {
            (parts >= RECORDS.0 && bytes >= RECORDS.1.max(RECORD.saturating_mul(parts)))
                || (parts >= LONG_RECORDS.0 && bytes >= LONG_RECORDS.1.saturating_mul(parts))
        }
        Kind::Object => parts >= MEMBERS.0 && parts == node.items as usize && bytes >= MEMBERS.1,
        _ => false,
    }
}

/// The content of a string between its quotes.
pub(super) fn inner<'a>(raw: &'a str, node: &Node) -> &'a str {
    raw.get(node.start as usize + 1..(node.end as usize).saturating_sub(1)).unwrap_or_default()
}
