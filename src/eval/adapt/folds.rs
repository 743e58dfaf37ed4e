//! Parts of the data that share no document, so that what is fitted to the others can be tried on each.

use std::collections::BTreeMap;

/// The fold of each item, by its document; documents are dealt out in the order of a hash of their names, so that
/// neither their order in the file nor their names' order matters.
pub(super) fn folds<'d>(documents: impl Iterator<Item = &'d str> + Clone, count: usize) -> Vec<usize> {
    let hash = |name: &str| *blake3::hash(name.as_bytes()).as_bytes();
    let known: BTreeMap<[u8; 32], usize> = documents.clone().map(|name| (hash(name), 0)).collect();
    let dealt: BTreeMap<[u8; 32], usize> =
        known.into_keys().enumerate().map(|(at, name)| (name, at % count.max(1))).collect();
    documents.map(|name| dealt.get(&hash(name)).copied().unwrap_or_default()).collect()
}

/// How many documents there are.
pub(super) fn count<'d>(documents: impl Iterator<Item = &'d str>) -> usize {
    documents.collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_stay_together_and_folds_are_even() {
        let names: Vec<String> = (0..60).map(|i| format!("document {}", i / 3)).collect();
        let all = folds(names.iter().map(String::as_str), 5);
        assert!(all.chunks(3).all(|of| of[0] == of[1] && of[1] == of[2]));
        let sizes: Vec<usize> = (0..5).map(|fold| all.iter().filter(|own| **own == fold).count()).collect();
        assert_eq!(sizes, [12; 5]);
        // The order of the rows changes nothing.
        let back = folds(names.iter().rev().map(String::as_str), 5);
        assert!(all.iter().eq(back.iter().rev()));
        assert_eq!(count(names.iter().map(String::as_str)), 20);
    }
}
