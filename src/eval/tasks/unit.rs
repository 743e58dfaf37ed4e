//! The unit of resampling: rows of the same named document, or over the same text, belong together.

use std::collections::HashMap;

use crate::eval::row::Row;

/// Gives rows over the same text the same document: some data sets name one text twice, and its rows tend to
/// be right or wrong together whatever the name. The name that comes first in the file wins.
pub(super) fn unite(rows: &mut [Row]) {
    let mut units = Units::default();
    let mut texts: HashMap<*const u8, usize> = HashMap::new();
    let of_row: Vec<usize> = rows
        .iter()
        .map(|row| {
            let unit = units.named(&row.document);
            // The loader deduplicates texts, so equal texts have the same address.
            let same = *texts.entry(row.context.as_ptr()).or_insert(unit);
            units.join(unit, same);
            unit
        })
        .collect();
    for (row, unit) in rows.iter_mut().zip(of_row) {
        let root = units.root(unit);
        if let Some(name) = units.names.get(root).filter(|name| **name != row.document) {
            row.document = name.clone();
        }
    }
}

/// A disjoint-set forest; the root of each set is its first member.
#[derive(Default)]
struct Units {
    names: Vec<String>,
    places: HashMap<String, usize>,
    parents: Vec<usize>,
}

impl Units {
    fn named(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.names.len();
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        self.parents.push(place);
        place
    }

    fn root(&self, mut unit: usize) -> usize {
        while let Some(parent) = self.parents.get(unit).filter(|parent| **parent != unit) {
            unit = *parent;
        }
        unit
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(parent) = self.parents.get_mut(one.max(other)) {
            *parent = one.min(other);
        }
    }
}
