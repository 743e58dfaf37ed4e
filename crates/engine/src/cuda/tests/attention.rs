//! Queries, keys and values through their pages, against a reference implementation.

use super::*;
use crate::{
    cuda::{
        heads::{self, HeadShape, HeadWeights, Layout, Sees, Span},
        pages::Pages,
    },
    kernels::KV_BLOCK,
};

/// A reference for queries, keys and values of sequences, rounded to bf16 where the kernels do so.
struct Case {
    shape: HeadShape,
    sees: Sees,
    /// Number of earlier tokens and of new tokens.
    spans: Vec<(usize, usize)>,
    turned: bool,
    normed: bool,
}

impl Case {
    /// Runs the case on a machine and returns the greatest error over all rows.
    fn run(&self, machine: &Arc<dyn Machine>, random: &mut Random) -> f32 {
        let HeadShape { heads, key_heads, width, neighbours, epsilon } = self.shape;
        let all = heads + 2 * key_heads;
        let totals: Vec<usize> = self.spans.iter().map(|(before, tokens)| before + tokens).collect();
        let longest = totals.iter().copied().max().unwrap();
        // All tokens of all sequences, in the form of a product's output.
        let products: Vec<Vec<f32>> =
            totals.iter().map(|total| random.values(total * all * width, 2.0)).collect();
        let bias = random.values(all * width, 0.5);
        let norms = (random.values(width, 1.0), random.values(width, 1.0));
        let turns: Vec<(f32, f32)> = (0..longest * width / 2)
            .map(|at| {
                let angle = (at / (width / 2)) as f32 * 0.9_f32.powi((at % (width / 2)) as i32);
                (angle.cos(), angle.sin())
            })
            .collect();
        let flat: Vec<f32> = turns.iter().flat_map(|(cos, sin)| [*cos, *sin]).collect();
        let on = |values: &[f32]| Buffer::of_floats(machine, values).unwrap();
        let (on_bias, on_query, on_key, on_turns) = (on(&bias), on(&norms.0), on(&norms.1), on(&flat));
        let weights = HeadWeights {
            bias: Some(&on_bias),
            query_norm: self.normed.then_some(&on_query),
            key_norm: self.normed.then_some(&on_key),
            turns: self.turned.then_some(&on_turns),
        };
        let needed: usize = totals.iter().map(|total| total.div_ceil(KV_BLOCK)).sum();
        let pages = Pages::new(machine, 2, key_heads * width, needed + 3).unwrap();
        // Pages in random order.
        let mut order: Vec<u32> = (0..needed as u32 + 3).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at + 1));
        }
        let mut order = order.into_iter();
        let own: Vec<Vec<u32>> =
            totals.iter().map(|total| order.by_ref().take(total.div_ceil(KV_BLOCK)).collect()).collect();

        // One pass for the earlier tokens, one for the rest.
        let mut ours = Vec::new();
        for pass in [false, true] {
            let mut spans = Vec::new();
            let mut product = Vec::new();
            for ((at, (before, tokens)), own) in self.spans.iter().enumerate().zip(&own) {
                let (from, to) = if pass { (*before, before + tokens) } else { (0, *before) };
                if to > from {
                    spans.push(Span { before: from, tokens: to - from, pages: own.clone() });
                    product.extend_from_slice(&products[at][from * all * width..to * all * width]);
                }
            }
            if spans.is_empty() {
                continue;
            }
            let divided = matches!(self.sees, Sees::Past);
            let layout = Layout::new(machine, &spans, &self.shape, divided).unwrap();
            let qkv = on(&product);
            let bytes = padded(layout.rows) * heads * width * 2;
            let (queries, out) = (Buffer::new(machine, bytes).unwrap(), Buffer::new(machine, bytes).unwrap());
            heads::finish(machine, &self.shape, weights, &layout, (&qkv, &queries), (&pages, 1)).unwrap();
            if pass {
                heads::attend(machine, &self.shape, self.sees, &layout, (&queries, &out), (&pages, 1))
                    .unwrap();
                ours = out.narrowed(layout.rows * heads * width).unwrap();
            }
        }

        let finished = |product: &[f32], place: usize, head: usize| {
            let mut values: Vec<f32> = product
                [(place * all + head) * width..(place * all + head + 1) * width]
                .iter()
                .zip(&bias[head * width..])
                .map(|(value, bias)| value + bias)
                .collect();
            if head < heads + key_heads {
                if self.normed {
                    let norm = if head < heads { &norms.0 } else { &norms.1 };
                    kernels::rms_norm(&mut values, norm, epsilon);
                }
                if self.turned {
                    for pair in 0..width / 2 {
                        let (first, second) =
                            if neighbours { (2 * pair, 2 * pair + 1) } else { (pair, pair + width / 2) };
                        let (a, b) = (values[first], values[second]);
                        let (cos, sin) = turns[place * width / 2 + pair];
                        values[first] = a * cos - b * sin;
                        values[second] = a * sin + b * cos;
                    }
                }
            }
            rounded(&values)
        };
        let mut exact = Vec::new();
        for ((before, tokens), product) in self.spans.iter().zip(&products) {
            let keys = before + tokens;
            let of = |head: usize| (0..keys).map(|place| finished(product, place, head)).collect::<Vec<_>>();
            let each_key: Vec<_> = (heads..heads + key_heads).map(of).collect();
            let each_value: Vec<_> = (heads + key_heads..all).map(of).collect();
            for place in *before..keys {
                for head in 0..heads {
                    let query = finished(product, place, head);
                    let (key, value) =
                        (&each_key[head / (heads / key_heads)], &each_value[head / (heads / key_heads)]);
                    let seen: Vec<usize> = (0..keys)
                        .filter(|other| match self.sees {
                            Sees::Past => *other <= place,
                            Sees::All => true,
                            Sees::Near(reach) => other.abs_diff(place) <= reach,
                        })
                        .collect();
                    let score = |other: &usize| {
                        let dot: f32 = query.iter().zip(&key[*other]).map(|(a, b)| a * b).sum();
                        dot / (width as f32).sqrt()
                    };
                    let scores: Vec<f32> = seen.iter().map(score).collect();
                    let most = scores.iter().fold(f32::NEG_INFINITY, |most, score| most.max(*score));
                    let weights: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
                    let total: f32 = weights.iter().sum();
                    exact.extend((0..width).map(|d| {
                        let sum: f32 = seen.iter().zip(&weights).map(|(other, w)| w * value[*other][d]).sum();
                        sum / total
                    }));
                }
            }
        }
        error(&ours, &exact)
    }
}

fn shape(heads: usize, key_heads: usize, width: usize, neighbours: bool) -> HeadShape {
    HeadShape { heads, key_heads, width, epsilon: 1e-6, neighbours }
}

on_machines! {
    attention_to_the_past_is_the_textbook_one,
    attention_over_windows_is_the_textbook_one,
}

/// Rounding error of bf16 weights and results.
const BF16: f32 = 0.01;

fn attention_to_the_past_is_the_textbook_one(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    let many = vec![(0, 1), (0, 31), (0, 32), (0, 33), (5, 1), (31, 1), (32, 2), (30, 70), (64, 33)];
    let cases = [
        Case {
            shape: shape(3, 1, 64, true),
            sees: Sees::Past,
            spans: many.clone(),
            turned: true,
            normed: false,
        },
        Case {
            shape: shape(4, 2, 128, false),
            sees: Sees::Past,
            spans: many.clone(),
            turned: true,
            normed: true,
        },
        Case {
            shape: shape(2, 2, 16, false),
            sees: Sees::Past,
            spans: many.clone(),
            turned: false,
            normed: false,
        },
        // More query heads per key head than a warp has rows.
        Case { shape: shape(20, 1, 32, true), sees: Sees::Past, spans: many, turned: true, normed: false },
        // Several splits, once in one block and once across blocks.
        Case {
            shape: shape(2, 1, 32, true),
            sees: Sees::Past,
            spans: vec![(0, 1500), (1499, 1), (511, 1), (512, 1), (511, 3), (1023, 40)],
            turned: true,
            normed: false,
        },
    ];
    for case in &cases {
        let far = case.run(&machine, &mut random);
        println!("{:?}: {far}", case.shape);
        assert!(far < BF16, "{:?}: {far}", case.shape);
    }
}

fn attention_over_windows_is_the_textbook_one(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    let lengths = vec![(0, 1), (0, 31), (0, 32), (0, 33), (0, 200)];
    let cases = [
        Case {
            shape: shape(2, 2, 32, false),
            sees: Sees::All,
            spans: lengths.clone(),
            turned: false,
            normed: false,
        },
        Case {
            shape: shape(2, 2, 64, false),
            sees: Sees::Near(64),
            spans: lengths.clone(),
            turned: true,
            normed: false,
        },
        Case {
            shape: shape(1, 1, 64, false),
            sees: Sees::Near(3),
            spans: lengths,
            turned: true,
            normed: false,
        },
        Case {
            shape: shape(1, 1, 32, false),
            sees: Sees::All,
            spans: vec![(0, 1500)],
            turned: true,
            normed: false,
        },
        Case {
            shape: shape(1, 1, 32, false),
            sees: Sees::Near(0),
            spans: vec![(0, 70)],
            turned: true,
            normed: false,
        },
    ];
    for case in &cases {
        let far = case.run(&machine, &mut random);
        println!("{:?} {:?}: {far}", case.shape, case.sees);
        assert!(far < BF16, "{:?} {:?}: {far}", case.shape, case.sees);
    }
}
