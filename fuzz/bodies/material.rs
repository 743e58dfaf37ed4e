//! The split of a message into wording and material.

use epitome::plan::{
    material::{Part, stretches},
    phrase,
};

/// Stretches tile the text, and dropping material loses no wording.
pub fn material(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = text.as_ref();
    for (alone, limit) in [(false, 2000), (true, 2000), (true, 60), (false, 0)] {
        let Some(found) = stretches(text, alone, limit) else { continue };
        let mut at = 0;
        let mut wording = String::new();
        for (index, stretch) in found.iter().enumerate() {
            assert_eq!(stretch.range.start, at, "stretches do not tile");
            let own = text.get(stretch.range.clone()).expect("whole characters");
            assert!(!own.is_empty(), "an empty stretch at {at}");
            let again = index > 0 && found[index - 1].part == stretch.part;
            assert!(!again || stretch.part == Part::Material, "wording in two stretches at {at}");
            if stretch.part == Part::Material {
                assert!(!own.trim().is_empty(), "material without text at {at}");
            } else {
                wording.push_str(own);
            }
            at = stretch.range.end;
        }
        assert_eq!(at, text.len(), "stretches do not tile");
        assert!(found.iter().any(|stretch| stretch.part == Part::Material));
        assert!(wording.len() < text.len());
    }
    let line = text.lines().max_by_key(|line| line.len()).unwrap_or_default();
    let _ = phrase::strength(line);
    let _ = phrase::bare(line);
}
