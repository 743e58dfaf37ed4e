//! The summary tree: leaves of segments, merged with their most similar neighbours, level by level,
//! until a level fits its share of the budget.
//!
//! Which nodes are merged depends on their vectors alone, so that all levels are laid out beforehand
//! (`Plan`). A merge begins as soon as its children are there and their level is known not to fit.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{Context, Point, SummarizeError, Summarizer, Summary};
use crate::rank::dense::cosine;

/// Leaves and merges in one group at most.
const GROUP: usize = 4;
/// How often who waits for children looks for them unasked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Summarizes `segments` in at most `budget` tokens, each node in at most `leaf` tokens.
pub(crate) fn summarize(
    context: &Context<'_>,
    summarizer: &dyn Summarizer,
    segments: &[usize],
    budget: usize,
    leaf: usize,
) -> Result<Summary, SummarizeError> {
    let leaf = leaf.min(budget);
    let centroid = |segment: &usize| {
        let spans = context.doc.segments[*segment].spans.clone();
        context.ranking.vectors.as_ref().map(|vectors| vectors.mean(spans)).unwrap_or_default()
    };
    let plan = Plan::new(segments.iter().map(centroid).collect(), budget / leaf.max(1));
    let steps = context.cancel.steps();
    steps.want(plan.made());
    let make = |level: usize, index: usize, children: &[Summary]| {
        context.cancel.check()?;
        let own: Vec<usize> = plan.leaves(level, index).filter_map(|at| segments.get(at).copied()).collect();
        let summary = match (level, own.as_slice()) {
            (0, [segment]) => summarizer.leaf(context, *segment, leaf),
            _ => summarizer.merge(context, level, children, &own, leaf),
        }?;
        steps.made_one();
        Ok(summary)
    };
    let size = |summary: &Summary| summary.points.iter().map(|point| context.tokens(point)).sum();
    let level = Tree::grow(&plan, summarizer.at_once(), budget, &make, &size)?;

    let mut whole = Summary::default();
    let mut left = budget;
    for summary in level {
        whole.ungrounded += summary.ungrounded;
        whole.nodes += summary.nodes;
        for point in summary.points {
            let tokens = context.tokens(&point);
            if tokens <= left {
                left -= tokens;
                whole.points.push(point);
            }
        }
    }
    whole.points.sort_by_key(|point| match point {
        Point::Span(span) => context.doc.spans[*span].range.start,
        Point::Text { source, .. } => source.start,
    });
    Ok(whole)
}

/// The nodes of every level, each by the number of its first child and how many it has; on the first
/// level, by its leaf.
#[derive(Debug)]
struct Plan(Vec<Vec<(usize, usize)>>);

impl Plan {
    /// Levels up to a single node, the upper ones of at least `least` nodes as long as groups allow.
    fn new(mut centroids: Vec<Vec<f32>>, least: usize) -> Self {
        let mut weights = vec![1.0; centroids.len()];
        let mut levels = vec![(0..centroids.len()).map(|at| (at, 1)).collect::<Vec<_>>()];
        while centroids.len() > 1 {
            let count = centroids.len();
            let wanted = least.max(count.div_ceil(GROUP)).clamp(1, count - 1);
            let level = groups(&centroids, wanted);
            let members = |all: &[f32], (first, count): &(usize, usize)| -> Vec<f32> {
                all.iter().skip(*first).take(*count).copied().collect()
            };
            let weights_of: Vec<Vec<f32>> = level.iter().map(|group| members(&weights, group)).collect();
            let own = level.iter().zip(&weights_of);
            centroids = own
                .map(|((first, count), weights)| {
                    if *count == 1 {
                        return centroids.get(*first).cloned().unwrap_or_default();
                    }
                    mean(centroids.iter().skip(*first).take(*count), weights)
                })
                .collect();
            weights = weights_of.iter().map(|weights| weights.iter().sum()).collect();
            levels.push(level);
        }
        Self(levels)
    }

    /// Nodes that are made if no level fits before the last: all but those of one child.
    fn made(&self) -> usize {
        let leaves = self.0.first().map_or(0, Vec::len);
        let merges = self.0.iter().skip(1).flatten().filter(|(_, children)| *children > 1);
        leaves + merges.count()
    }

    /// The leaves below a node.
    fn leaves(&self, level: usize, index: usize) -> std::ops::Range<usize> {
        let mut range = index..index + 1;
        for level in self.0.get(1..=level).unwrap_or_default().iter().rev() {
            let start = level.get(range.start).map_or(0, |(first, _)| *first);
            let end = level.get(range.end - 1).map_or(start, |(first, count)| first + count);
            range = start..end;
        }
        range
    }
}

/// Joins neighbours, the most similar first, until `wanted` groups are left or all are full.
fn groups(centroids: &[Vec<f32>], wanted: usize) -> Vec<(usize, usize)> {
    let mut borders: Vec<(usize, f32)> =
        centroids.windows(2).enumerate().map(|(i, pair)| (i, cosine(&pair[0], &pair[1]))).collect();
    borders.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    // `group[i]` is the first node of the group that node `i` is in.
    let mut group: Vec<usize> = (0..centroids.len()).collect();
    let mut left = centroids.len();
    for (border, _) in borders {
        if left <= wanted {
            break;
        }
        let (a, b) = (group[border], group[border + 1]);
        let members = group.iter().filter(|g| **g == a || **g == b).count();
        if members <= GROUP {
            group.iter_mut().filter(|g| **g == b).for_each(|g| *g = a);
            left -= 1;
        }
    }
    group.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// The unit vector of a weighted mean.
fn mean<'a>(vectors: impl Iterator<Item = &'a Vec<f32>>, weights: &[f32]) -> Vec<f32> {
    let mut mean: Vec<f32> = Vec::new();
    for (vector, weight) in vectors.zip(weights) {
        mean.resize(vector.len().max(mean.len()), 0.0);
        mean.iter_mut().zip(vector).for_each(|(slot, x)| *slot += weight * x);
    }
    let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::EPSILON);
    mean.iter_mut().for_each(|x| *x /= norm);
    mean
}

/// What there is of the tree so far.
struct Tree<'a> {
    plan: &'a Plan,
    budget: usize,
    levels: Vec<Level>,
    /// Nodes that can be made now, the lowest first.
    ready: BTreeSet<(usize, usize)>,
    working: usize,
    /// The level that fits.
    fits: Option<usize>,
    failed: Option<SummarizeError>,
    /// What a thread panicked with; the others stop then.
    panicked: Option<Box<dyn Any + Send>>,
}

#[derive(Default)]
struct Level {
    made: Vec<Option<Summary>>,
    count: usize,
    /// Tokens of all that is made.
    tokens: usize,
}

type Make<'a> = dyn Fn(usize, usize, &[Summary]) -> Result<Summary, SummarizeError> + Sync + 'a;

impl<'a> Tree<'a> {
    /// The summaries of the first level that fits the budget, made by so many threads at most.
    fn grow(
        plan: &'a Plan,
        threads: usize,
        budget: usize,
        make: &Make<'_>,
        size: &(dyn Fn(&Summary) -> usize + Sync),
    ) -> Result<Vec<Summary>, SummarizeError> {
        let levels = plan.0.iter().map(|level| Level { made: vec![None; level.len()], ..Level::default() });
        let leaves = plan.0.first().map_or(0, Vec::len);
        let tree = Mutex::new(Tree {
            plan,
            budget,
            levels: levels.collect(),
            ready: (0..leaves).map(|index| (0, index)).collect(),
            working: 0,
            fits: (leaves == 0).then_some(0),
            failed: None,
            panicked: None,
        });
        let changed = Condvar::new();
        let work = || {
            let mut own = lock(&tree);
            loop {
                if own.fits.is_some() || own.failed.is_some() || own.panicked.is_some() {
                    return;
                }
                let Some((level, index)) = own.ready.pop_first() else {
                    if own.working == 0 {
                        return;
                    }
                    let woken = changed.wait_timeout(own, LOOK_EVERY);
                    own = woken.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                };
                own.working += 1;
                let mut children = own.children(level, index);
                drop(own);
                let made = panic::catch_unwind(AssertUnwindSafe(|| {
                    // A node of one child is that child.
                    let summary = if level > 0 && children.len() == 1 {
                        children.remove(0)
                    } else {
                        make(level, index, &children)?
                    };
                    let tokens = size(&summary);
                    Ok((summary, tokens))
                }));
                own = lock(&tree);
                own.working -= 1;
                match made {
                    Ok(Ok((summary, tokens))) => own.put(level, index, summary, tokens),
                    Ok(Err(error)) => {
                        own.failed.get_or_insert(error);
                    }
                    Err(payload) => {
                        own.panicked.get_or_insert(payload);
                    }
                }
                changed.notify_all();
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(leaves) {
                scope.spawn(work);
            }
            work();
        });
        let mut tree = tree.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(payload) = tree.panicked {
            panic::resume_unwind(payload);
        }
        if let Some(error) = tree.failed {
            return Err(error);
        }
        let level = tree.fits.and_then(|level| tree.levels.get_mut(level)).map(std::mem::take);
        Ok(level.unwrap_or_default().made.into_iter().flatten().collect())
    }

    fn children(&self, level: usize, index: usize) -> Vec<Summary> {
        let below = level.checked_sub(1).and_then(|below| self.levels.get(below));
        let own = self.plan.0.get(level).and_then(|level| level.get(index));
        let (Some(below), Some((first, count))) = (below, own) else { return Vec::new() };
        below.made.iter().skip(*first).take(*count).flatten().cloned().collect()
    }

    /// A node is made; what can be made now is ready.
    fn put(&mut self, level: usize, index: usize, summary: Summary, tokens: usize) {
        let Some(own) = self.levels.get_mut(level) else { return };
        if let Some(place) = own.made.get_mut(index) {
            *place = Some(summary);
        }
        own.count += 1;
        let was_over = own.tokens > self.budget;
        own.tokens += tokens;
        let over = own.tokens > self.budget;
        let last = own.made.len() == 1;
        if own.count == own.made.len() && (!over || last) {
            self.fits = Some(level);
        }
        let Some(above) = self.plan.0.get(level + 1).filter(|_| over) else { return };
        let there =
            |(first, count): &(usize, usize)| own.made.iter().skip(*first).take(*count).all(Option::is_some);
        // At the moment when it is over, all whose children are there; then those of this one alone.
        let ready = above.iter().enumerate().filter(|(_, group)| {
            let mine = (group.0..group.0 + group.1).contains(&index);
            (mine || !was_over) && there(group)
        });
        self.ready.extend(ready.map(|(index, _)| (level + 1, index)));
    }
}

fn lock<'b, 'a>(tree: &'b Mutex<Tree<'a>>) -> MutexGuard<'b, Tree<'a>> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
