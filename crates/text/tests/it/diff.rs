//! Diffs: detection, blocks, omissions.

use epitome_text::{
    cut::{Content, CutBlock, Hint, Role},
    kinds::diff::{cut, detect, omission},
};
use proptest::prelude::*;

const LOG: &str = include_str!("../../../../tests/fixtures/diff/log.diff");
const SHOW: &str = include_str!("../../../../tests/fixtures/diff/show.diff");
const MAIL: &str = include_str!("../../../../tests/fixtures/diff/mail.diff");
const MERGE: &str = include_str!("../../../../tests/fixtures/diff/merge.diff");
const BINARY: &str = include_str!("../../../../tests/fixtures/diff/binary.diff");
const FOLDERS: &str = include_str!("../../../../tests/fixtures/diff/folders.diff");
const ALL: [&str; 6] = [LOG, SHOW, MAIL, MERGE, BINARY, FOLDERS];

fn tiles(text: &str, blocks: &[CutBlock]) {
    let mut at = 0;
    for block in blocks {
        assert!(!block.pieces.is_empty());
        assert_eq!(block.level > 0, block.content == Content::Heading);
        for piece in &block.pieces {
            assert_eq!(piece.range.start, at);
            assert!(piece.range.end > at && text.is_char_boundary(piece.range.end));
            at = piece.range.end;
        }
    }
    assert_eq!(at, text.len());
}

#[test]
fn every_hunk_is_a_block_with_a_label() {
    for text in ALL {
        assert!(detect(text, &Hint::default()));
        let blocks = cut(text);
        tiles(text, &blocks);
        let expected = text.lines().filter(|line| line.starts_with("@@")).count();
        let hunks = blocks.iter().filter(|b| {
            let label = &b.pieces[0];
            b.content == Content::Code
                && label.role == Role::Label
                && text[label.range.clone()].starts_with("@@")
        });
        assert_eq!(hunks.count(), expected);
        let files = text.lines().filter(|line| line.starts_with("diff -")).count();
        let headings = blocks.iter().filter(|b| text[b.pieces[0].range.clone()].starts_with("diff -"));
        assert!(headings.clone().all(|b| b.content == Content::Heading));
        assert_eq!(headings.count(), files);
    }
}

#[test]
fn hunks_are_split_between_groups_of_changes() {
    for text in ALL {
        for block in cut(text).iter().filter(|block| block.pieces.len() > 2) {
            for pair in block.pieces[1..].windows(2) {
                let sign = |line: &str| line.chars().next().filter(|c| "+-".contains(*c));
                let before = sign(text[pair[0].range.clone()].lines().last().unwrap());
                let behind = sign(text[pair[1].range.clone()].lines().next().unwrap());
                let one = before.is_some() && before == behind;
                assert!(before.is_none() || behind.is_none() || one, "{:?}", pair[0]);
            }
        }
    }
}

#[test]
fn files_without_hunks_keep_their_header() {
    for (text, said) in
        [(SHOW, "rename to libloading"), (LOG, "Binary files a/tool.bin"), (BINARY, "new mode 100755")]
    {
        let at = text.find(said).unwrap();
        let blocks = cut(text);
        let piece = blocks.iter().flat_map(|b| &b.pieces).find(|p| p.range.contains(&at)).unwrap();
        assert_eq!(piece.role, Role::Outline, "{said}");
    }
    let at = BINARY.find("GIT binary patch").unwrap();
    let blocks = cut(BINARY);
    assert_eq!(
        blocks.iter().flat_map(|b| &b.pieces).find(|p| p.range.contains(&at)).unwrap().role,
        Role::Noise
    );
}

#[test]
fn commits_are_headings_above_their_files() {
    let blocks = cut(LOG);
    let headings: Vec<(u8, &str)> = blocks
        .iter()
        .filter(|b| b.content == Content::Heading)
        .map(|b| (b.level, LOG[b.pieces[0].range.clone()].split(' ').next().unwrap()))
        .collect();
    assert_eq!(&headings[..2], &[(1, "commit"), (2, "diff")]);
    assert_eq!(
        headings.iter().filter(|h| h.0 == 1).count(),
        LOG.lines().filter(|l| l.starts_with("commit ")).count()
    );
    assert!(cut(FOLDERS).iter().all(|b| b.level < 2));
}

#[test]
fn lock_files_and_white_space_are_noise() {
    let blocks = cut(LOG);
    let role = |said: &str| {
        let at = LOG.find(said).unwrap();
        blocks.iter().flat_map(|b| &b.pieces).find(|p| p.range.contains(&at)).unwrap().role
    };
    assert_eq!(role("+\tif size_of::<T>() != size_of::<E>() {"), Role::Noise);
    assert_eq!(role("-version = 3"), Role::Noise);
    assert_eq!(role("+edition = "), Role::Text);
}

#[test]
fn omissions_report_counts() {
    for text in ALL {
        for block in cut(text) {
            for piece in &block.pieces {
                let lines = |sign| text[piece.range.clone()].lines().filter(|l| l.starts_with(sign)).count();
                let marker = omission(text, piece.range.clone());
                if block.pieces[0].role == Role::Label && piece.role == Role::Text && text != MERGE {
                    let (added, removed) = (lines('+'), lines('-'));
                    assert_eq!(
                        marker.trim(),
                        format!("[part of a hunk left out: +{added} -{removed} lines]")
                    );
                }
            }
        }
    }
    let hunks: Vec<usize> = FOLDERS.match_indices("\n@@").map(|(i, _)| i + 1).collect();
    let two = hunks[1]..hunks[3];
    let added = FOLDERS[two.clone()].lines().filter(|l| l.starts_with('+')).count();
    let removed = FOLDERS[two.clone()].lines().filter(|l| l.starts_with('-')).count();
    assert_eq!(omission(FOLDERS, two), format!("[2 hunks left out: +{added} -{removed} lines]\n"));
    assert_eq!(omission(SHOW, SHOW.find("---").unwrap()..SHOW.find("diff").unwrap()), "[5 lines left out]\n");
    assert_eq!(omission(SHOW, 0..SHOW.find("similarity").unwrap()), "[1 commit, 1 file left out]\n");
}

#[test]
fn other_texts_are_not_diffs() {
    let fenced = format!(
        "Here is a change that I made to the file:\n\n```diff\n{SHOW}```\n\nAnd why.\n{}",
        "\nMore.\n".repeat(40)
    );
    for text in [
        "",
        "--- a\n",
        "---\ntitle: x\n---\n\n# A\n\n- b\n+ c\n",
        "- a\n- b\n+ c\n",
        include_str!("../../../../tests/fixtures/code/dent.rs"),
        include_str!("../../../../tests/fixtures/code/README.md"),
        " src/a.rs | 3 +-\n 1 file changed, 2 insertions(+), 1 deletion(-)\n",
        &fenced,
    ] {
        assert!(!detect(text, &Hint::default()), "{}", &text[..text.len().min(60)]);
    }
}

#[test]
fn lines_that_look_like_headers_stay_in_their_hunk() {
    let text = "--- a\n+++ b\n@@ -1,4 +1,3 @@\n x\n--- y\n-commit 0123456789\n-\n+++ z\n+diff\n@@ -9 +9 @@\n-a\n+b\n";
    let blocks = cut(text);
    tiles(text, &blocks);
    assert_eq!(blocks.len(), 3);
    assert_eq!(
        omission(text, text.find("--- y").unwrap()..text.len() - 1).trim(),
        "[1 hunk left out: +3 -4 lines]"
    );
}

#[test]
fn large_diffs_are_fast() {
    let size = 5 << 20;
    for unit in
        [FOLDERS, "@@ -1 +1 @@\n", "+x\n", "--- a\n+++ b\n", "\n", "commit 0123456\n", "@@@@@@@@@ ", "x"]
    {
        let text = unit.repeat(size / unit.len());
        detect(&text, &Hint::default());
        tiles(&text, &cut(&text));
        omission(&text, 0..text.len());
    }
}

proptest! {
    #[test]
    fn any_text_tiles(text in "\\PC{0,200}", lines in "((@@ -1,3 \\+1,2 @@|@@@ -1 -1 \\+1 @@@|--- a|\\+\\+\\+ b|diff --git a/x b/x|commit 0123456|GIT binary patch|[ +-]{0,3}[a-zé]{0,5}|\\\\ No)\r?\n){0,40}") {
        tiles(&text, &cut(&text));
        let blocks = cut(&lines);
        tiles(&lines, &blocks);
        detect(&lines, &Hint::default());
        for piece in blocks.iter().flat_map(|b| &b.pieces) {
            omission(&lines, piece.range.clone());
        }
    }
}
