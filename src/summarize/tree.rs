//! The summary tree: leaves of segments, merged with their most similar neighbours, level by level,
//! until a level fits its share of the budget. What stands on one level is made at once.

use std::sync::Mutex;

use super::{Context, Point, SummarizeError, Summarizer, Summary};
use crate::{rank::dense::cosine, workers};

/// Leaves and merges in one group at most.
const GROUP: usize = 4;

struct Node {
    segments: Vec<usize>,
    summary: Summary,
    centroid: Vec<f32>,
}

/// Summarizes `segments` in at most `budget` tokens, each node in at most `leaf` tokens.
pub fn summarize(
    context: &Context<'_>,
    summarizer: &dyn Summarizer,
    segments: &[usize],
    budget: usize,
    leaf: usize,
) -> Result<Summary, SummarizeError> {
    let leaf = leaf.min(budget);
    let mut level = workers::with(summarizer.at_once(), segments.len(), context.cancel, |index| {
        let segment = segments[index];
        let summary = summarizer.leaf(context, segment, leaf)?;
        let spans = context.doc.segments[segment].spans.clone();
        let centroid = context.ranking.vectors.as_ref().map(|v| v.mean(spans)).unwrap_or_default();
        Ok::<_, SummarizeError>(Node { segments: vec![segment], summary, centroid })
    })?;
    let size = |node: &Node| node.summary.points.iter().map(|p| context.tokens(p)).sum::<usize>();
    while level.len() > 1 && level.iter().map(size).sum::<usize>() > budget {
        let wanted = (budget / leaf.max(1)).max(level.len().div_ceil(GROUP)).clamp(1, level.len() - 1);
        level = merge_level(context, summarizer, level, wanted, leaf)?;
    }

    let mut whole = Summary::default();
    let mut left = budget;
    for node in level {
        whole.ungrounded += node.summary.ungrounded;
        for point in node.summary.points {
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

/// Joins neighbours, the most similar first, until `wanted` groups are left or all are full, and
/// merges each group.
fn merge_level(
    context: &Context<'_>,
    summarizer: &dyn Summarizer,
    level: Vec<Node>,
    wanted: usize,
    leaf: usize,
) -> Result<Vec<Node>, SummarizeError> {
    let mut borders: Vec<(usize, f32)> = level
        .windows(2)
        .enumerate()
        .map(|(i, pair)| (i, cosine(&pair[0].centroid, &pair[1].centroid)))
        .collect();
    borders.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    // `group[i]` is the first node of the group that node `i` is in.
    let mut group: Vec<usize> = (0..level.len()).collect();
    let mut groups = level.len();
    for (left, _) in borders {
        if groups <= wanted {
            break;
        }
        let (a, b) = (group[left], group[left + 1]);
        let members = group.iter().filter(|g| **g == a || **g == b).count();
        if members <= GROUP {
            group.iter_mut().filter(|g| **g == b).for_each(|g| *g = a);
            groups -= 1;
        }
    }
    let mut joined: Vec<Mutex<Vec<Node>>> = Vec::with_capacity(groups);
    let mut nodes = level.into_iter().zip(group).peekable();
    while let Some((node, first)) = nodes.next() {
        let mut members = vec![node];
        while let Some((node, _)) = nodes.next_if(|(_, g)| *g == first) {
            members.push(node);
        }
        joined.push(Mutex::new(members));
    }
    workers::with(summarizer.at_once(), joined.len(), context.cancel, |index| {
        // Each piece is taken once: nobody else holds the lock.
        let mut members =
            joined[index].lock().map(|mut members| std::mem::take(&mut *members)).unwrap_or_default();
        if members.len() == 1 { Ok(members.remove(0)) } else { join(context, summarizer, members, leaf) }
    })
}

fn join(
    context: &Context<'_>,
    summarizer: &dyn Summarizer,
    members: Vec<Node>,
    leaf: usize,
) -> Result<Node, SummarizeError> {
    let mut centroid = vec![0.0_f32; members.first().map_or(0, |node| node.centroid.len())];
    let (mut segments, mut children) = (Vec::new(), Vec::new());
    for node in members {
        let weight = node.segments.len() as f32;
        centroid.iter_mut().zip(&node.centroid).for_each(|(slot, x)| *slot += weight * x);
        segments.extend(node.segments);
        children.push(node.summary);
    }
    let norm = centroid.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::EPSILON);
    centroid.iter_mut().for_each(|x| *x /= norm);
    let summary = summarizer.merge(context, &children, &segments, leaf)?;
    Ok(Node { segments, summary, centroid })
}
