//! Reproducible random draws.

use std::collections::HashMap;

use crate::eval::row::Row;

/// A random number generator (SplitMix64: Steele, Lea and Flood, Fast Splittable Pseudorandom Number
/// Generators, OOPSLA 2014, figure 17), seeded by a number and a name. Good for drawing rows and spans, not
/// for secrets.
pub(crate) struct Draw(u64);

impl Draw {
    /// Different names give different sequences.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 if `limit` is 0.
    fn below(&mut self, limit: usize) -> usize {
        // The high half of the product; its bias is below 2^-32 for any list that fits in memory.
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// Shuffles `items`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

/// Draws `size` rows: documents in random order, one row of each in turn, so that as many documents as
/// possible take part. The rows stay in file order.
pub(super) fn draw(rows: Vec<Row>, size: usize, seed: u64, task: &str) -> Vec<Row> {
    if size >= rows.len() {
        return rows;
    }
    let mut draw = Draw::new(seed, task);
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut documents: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let place = *places.entry(&row.document).or_insert_with(|| {
            documents.push(Vec::new());
            documents.len() - 1
        });
        if let Some(of_document) = documents.get_mut(place) {
            of_document.push(index);
        }
    }
    draw.shuffle(&mut documents);
    documents.iter_mut().for_each(|of_document| draw.shuffle(of_document));
    let mut drawn = vec![false; rows.len()];
    let mut left = size;
    'rounds: for round in 0.. {
        let mut found = false;
        for index in documents.iter().filter_map(|of_document| of_document.get(round)) {
            if left == 0 {
                break 'rounds;
            }
            found = true;
            left -= 1;
            if let Some(slot) = drawn.get_mut(*index) {
                *slot = true;
            }
        }
        if !found {
            break;
        }
    }
    rows.into_iter().zip(drawn).filter_map(|(row, drawn)| drawn.then_some(row)).collect()
}
