//! The order in which units are chosen.

use std::{borrow::Cow, cmp::Ordering};

use epitome_text::{Content, Document, Role};

use super::{
    ENTRY, SCRAP,
    units::{self, Unit},
};
use crate::rank::Ranking;

/// Outlines come first while they are at most this share of the budget, as a divisor.
const OUTLINE: usize = 3;
/// What is critical comes next, up to this share of it.
const CRITICAL: usize = 2;
/// Lines that name a failure come before what tells more of it, up to this share of that, as a ratio.
const NAMES: (usize, usize) = (3, 5);
/// Where nothing is asked no score says what is needed: then what is critical leaves this share of it to all else.
const UNASKED: usize = 5;

/// How many tokens come before all else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    budget: usize,
    outline: usize,
    critical: usize,
}

impl Limits {
    /// The limits in a budget; `asked` says whether a query tells spans apart.
    pub(super) fn of(budget: usize, asked: bool) -> Self {
        let critical = if asked { budget / CRITICAL } else { budget - budget / UNASKED };
        Self { budget, outline: budget / OUTLINE, critical }
    }
}

/// What is pinned, and fenced code where that is; what stands for the rest, while that is a small part of the budget;
/// what is most critical, up to a part of it, and of that what says what is wrong before the code that it shows; all
/// else by score; noise last. Of what is critical and too long for its part, the head comes in its place, where the
/// first words of an error say what it is, and the rest by its score.
pub(super) fn order<'u>(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &'u [Unit],
    limits: Limits,
    pin_code: bool,
) -> Vec<Cow<'u, Unit>> {
    let mut order: Vec<&Unit> = units.iter().collect();
    let better = |a: &Unit, b: &Unit| b.score.total_cmp(&a.score).then(a.spans.start.cmp(&b.spans.start));
    // A line that names a failure, what else tells of one, the code that it shows.
    let rank = |unit: &Unit| match doc.spans[unit.spans.start].content {
        Content::Line => 0_u8,
        Content::Code => 2,
        _ => 1,
    };
    order.sort_by(|a, b| rank(a).cmp(&rank(b)).then(better(a, b)));
    let outline: usize =
        units.iter().filter(|unit| unit.role == Role::Outline).map(|unit| unit.tokens + ENTRY).sum();
    let mut critical = limits.critical;
    let mut names = limits.critical * NAMES.0 / NAMES.1;
    let mut classed: Vec<(u8, Cow<'u, Unit>)> = Vec::with_capacity(order.len());
    for unit in order {
        let class = match unit.role {
            _ if unit.is_pinned(pin_code) => 0,
            Role::Outline if outline <= limits.outline => 1,
            Role::Critical if rank(unit) == 0 && unit.tokens > names => 3,
            Role::Critical if unit.tokens <= critical => {
                names = names.saturating_sub(unit.tokens);
                critical -= unit.tokens;
                2
            }
            Role::Critical => {
                let head = units::head(doc, ranking, unit, critical.saturating_sub(ENTRY));
                if let Some(head) = head.filter(|head| head.tokens >= SCRAP.min(limits.budget / 6)) {
                    critical = critical.saturating_sub(head.tokens + ENTRY);
                    classed.push((2, Cow::Owned(head)));
                }
                3
            }
            Role::Noise => 4,
            _ => 3,
        };
        classed.push((class, Cow::Borrowed(unit)));
    }
    classed.sort_by(|(class, a), (other, b)| {
        let told = if *class == 2 { rank(a).cmp(&rank(b)) } else { Ordering::Equal };
        class.cmp(other).then(told).then(better(a, b))
    });
    classed.into_iter().map(|(_, unit)| unit).collect()
}
