//! The bill of a proxy: prices, what was sent before, and whether compaction pays.

use std::{
    borrow::Cow,
    ops::Range,
    time::{Duration, Instant},
};

use crate::{
    bill::{
        Dialect,
        ledger::Ledger,
        net::{Change, Nets},
        prefix::Part,
        statement::Statement,
        telemetry,
    },
    config,
    wire::json::Raw,
};

/// The bill of a proxy.
pub(super) struct Billing {
    pub(super) ledger: Ledger,
    nets: Nets,
}

impl Billing {
    pub(super) fn new(ledger: Ledger, config: &config::Shadow) -> Self {
        let nets = Nets::new(config.net_window, Duration::from_secs(config.cooldown_s));
        Self { ledger, nets }
    }

    /// Whether compaction costs a client more than it saves, and is off for a while.
    pub(super) fn is_off(&self, tenant: &str, dialect: Dialect) -> bool {
        let (off, change) = self.nets.is_off(tenant, dialect, Instant::now());
        if change == Change::On {
            telemetry::net_off(dialect, false);
            tracing::info!(dialect = dialect.as_str(), "compaction is on again after shadow.cooldown_s");
        }
        off
    }

    /// Notes what a compacted request cost.
    pub(super) fn note(&self, tenant: &str, dialect: Dialect, statement: &Statement) {
        if self.nets.add(tenant, dialect, statement, Instant::now()) == Change::Off {
            telemetry::net_off(dialect, true);
            tracing::warn!(
                dialect = dialect.as_str(),
                "compaction cost more than it saved over shadow.net_window requests; it is off for shadow.cooldown_s"
            );
        }
    }
}

/// Bytes of a body that make about a token.
const BYTES: usize = 4;

/// The parts of a body, with about their tokens: what counts is how much of the whole each is, since the provider reports
/// the whole.
pub(super) fn parts(dialect: Dialect, body: &[u8]) -> Vec<Part> {
    let part = |range: Range<usize>| {
        let bytes = unmarked(body.get(range).unwrap_or_default());
        Part::new(&bytes, bytes.len().div_ceil(BYTES) as u64)
    };
    dialect.parts(body).into_iter().map(part).collect()
}

/// A message without marks of cache breakpoints, which move from request to request and are no part of what is cached.
fn unmarked(message: &[u8]) -> Cow<'_, [u8]> {
    const MARK: &str = "cache_control";
    let marked = std::str::from_utf8(message).is_ok_and(|text| text.contains(MARK));
    let Some(ranges) = marked.then(|| marks(message)) else { return message.into() };
    let mut out = Vec::with_capacity(message.len());
    let mut at = 0;
    for range in ranges {
        out.extend_from_slice(message.get(at..range.start).unwrap_or_default());
        at = range.end;
    }
    out.extend_from_slice(message.get(at..).unwrap_or_default());
    out.into()
}

/// Where the values of breakpoints stand in a message: its own, those of its blocks, and those of blocks in these.
fn marks(message: &[u8]) -> Vec<Range<usize>> {
    fn walk(value: Raw<'_>, depth: usize, found: &mut Vec<Range<usize>>) {
        if depth == 0 {
            return;
        }
        for element in value.elements().unwrap_or_default() {
            walk(element, depth - 1, found);
        }
        if let Some(members) = value.members() {
            found.extend(members.last("cache_control").map(Raw::range));
            members.last("content").into_iter().for_each(|content| walk(content, depth - 1, found));
        }
    }
    let mut found = Vec::new();
    if let Ok(value) = Raw::parse(message) {
        walk(value, 6, &mut found);
    }
    found.sort_by_key(|range| range.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakpoints_are_no_part_of_a_message() {
        let with = |mark: &str| {
            format!(
                r#"{{"role":"user","content":[{{"type":"tool_result","content":[{{"type":"text","text":"cache_control","cache_control":{mark}}}],"cache_control":{mark}}}]}}"#
            )
        };
        let one = with(r#"{"type":"ephemeral"}"#);
        let other = with(r#"{"type":"ephemeral","ttl":"1h"}"#);
        assert_ne!(one, other);
        assert_eq!(unmarked(one.as_bytes()), unmarked(other.as_bytes()));
        assert!(String::from_utf8_lossy(&unmarked(one.as_bytes())).contains(r#""text":"cache_control""#));
        for plain in [r#"{"content":"cache_control"}"#, "{", "7"] {
            assert_eq!(unmarked(plain.as_bytes()).as_ref(), plain.as_bytes());
        }
    }
}
