//! The tree with summaries of given sizes.

use std::sync::atomic::{AtomicUsize, Ordering};

use epitome_work::Stopped;
use proptest::prelude::*;

use super::*;

fn vectors(angles: &[f32]) -> Vec<Vec<f32>> {
    angles.iter().map(|angle| vec![angle.cos(), angle.sin()]).collect()
}

/// A summary that tells its leaves and counts so many tokens.
fn summary(leaves: std::ops::Range<usize>, tokens: usize) -> Summary {
    let text = format!("{leaves:?}");
    let point = Point::Text { text, source: leaves, cites: Vec::new(), tokens };
    Summary { points: vec![point], ..Summary::default() }
}

fn tokens(summary: &Summary) -> usize {
    let of = |point: &Point| if let Point::Text { tokens, .. } = point { *tokens } else { 0 };
    summary.points.iter().map(of).sum()
}

/// One level after the other, each when the last is complete.
fn new_portable(plan: &Plan, budget: usize, size: &dyn Fn(usize, usize) -> usize) -> Vec<Summary> {
    let mut at = 0;
    loop {
        let level: Vec<Summary> = (0..plan.0[at].len())
            .map(|index| {
                // A node of one child is that child.
                let (mut level, mut index) = (at, index);
                while level > 0 && plan.0[level][index].1 == 1 {
                    index = plan.0[level][index].0;
                    level -= 1;
                }
                summary(plan.leaves(level, index), size(level, index))
            })
            .collect();
        if level.len() <= 1 || level.iter().map(tokens).sum::<usize>() <= budget {
            return level;
        }
        at += 1;
    }
}

proptest! {
    #[test]
    fn it_is_what_comes_out_level_by_level(
        angles in prop::collection::vec(0.0f32..1.5, 0..40),
        sizes in prop::collection::vec(0usize..50, 64),
        budget in 0usize..600,
        threads in 1usize..9,
    ) {
        let plan = Plan::new(vectors(&angles), budget / 50);
        for (at, level) in plan.0.iter().enumerate() {
            // Every level holds every leaf once, in order, in groups that are not too large.
            let leaves: Vec<usize> = (0..level.len()).flat_map(|index| plan.leaves(at, index)).collect();
            prop_assert_eq!(leaves, (0..angles.len()).collect::<Vec<_>>());
            prop_assert!(level.iter().all(|(_, count)| (1..=GROUP).contains(count)));
        }
        let size = |level: usize, index: usize| sizes[(level * 7 + index) % sizes.len()];
        let make = |level: usize, index: usize, children: &[Summary]| {
            let leaves = plan.leaves(level, index);
            if level > 0 {
                let below: usize = children
                    .iter()
                    .flat_map(|child| &child.points)
                    .map(|point| if let Point::Text { source, .. } = point { source.len() } else { 0 })
                    .sum();
                assert_eq!(below, leaves.len());
            }
            Ok(summary(leaves, size(level, index)))
        };
        let level = Tree::grow(&plan, threads, budget, &make, &tokens).unwrap();
        prop_assert_eq!(level, new_portable(&plan, budget, &size));
    }
}

#[test]
fn nodes_of_one_child_are_not_made() {
    let leaf = || vec![(0, 1), (1, 1), (2, 1)];
    assert_eq!(Plan(vec![leaf(), vec![(0, 1), (1, 2)], vec![(0, 2)]]).made(), 3 + 1 + 1);
    assert_eq!((Plan(vec![leaf()]).made(), Plan(vec![vec![]]).made()), (3, 0));
}

#[test]
fn a_merge_does_not_wait_for_leaves_that_are_not_its_own() {
    let plan = Plan::new(vectors(&[0.0; 8]), 0);
    let merges = AtomicUsize::new(0);
    let make = |level: usize, index: usize, _: &[Summary]| {
        if level > 0 {
            merges.fetch_add(1, Ordering::SeqCst);
        } else if index == 7 {
            // The last leaf is not there before the first merge has begun.
            while merges.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
        }
        Ok(summary(plan.leaves(level, index), 10))
    };
    assert_eq!(Tree::grow(&plan, 4, 25, &make, &tokens).unwrap().len(), 2);
}

#[test]
fn the_first_failure_ends_it() {
    let plan = Plan::new(vectors(&[0.0; 30]), 0);
    let made = AtomicUsize::new(0);
    let make = |_: usize, index: usize, _: &[Summary]| {
        made.fetch_add(1, Ordering::SeqCst);
        if index == 3 { Err(Stopped::Cancelled.into()) } else { Ok(summary(0..1, 1)) }
    };
    assert!(matches!(Tree::grow(&plan, 1, 100, &make, &tokens), Err(SummarizeError::Stopped(_))));
    assert_eq!(made.into_inner(), 4);
}

#[test]
fn a_panic_reaches_the_caller() {
    let plan = Plan::new(vectors(&[0.0; 30]), 0);
    let make = |_: usize, index: usize, _: &[Summary]| {
        assert!(index != 3, "on purpose");
        Ok(summary(0..1, 1))
    };
    let grown = || Tree::grow(&plan, 4, 100, &make, &tokens).map(|level| level.len());
    assert!(panic::catch_unwind(AssertUnwindSafe(grown)).is_err());
}
