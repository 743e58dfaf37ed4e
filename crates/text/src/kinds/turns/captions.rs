//! SubRip and WebVTT captions. A cue is a turn, labelled with its number and times.

use super::{builder::Builder, stamps::time};
use crate::{
    cut::{CutBlock, Role},
    lines::lines,
};

/// Minimum number of cues.
const CUES: usize = 3;

/// Whether a line has the times of a cue.
fn is_times(line: &str) -> bool {
    let Some((from, to)) = line.trim_start_matches('\u{feff}').split_once("-->") else { return false };
    let (from, to) = (from.trim(), to.trim_start());
    time(from) == Some(from.len())
        && time(to)
            .is_some_and(|length| to[length..].is_empty() || to[length..].starts_with(char::is_whitespace))
}

/// Whether `text` is captions.
pub(super) fn detect(text: &str) -> bool {
    if !text.contains("-->") {
        return false;
    }
    let (mut cues, mut rows) = (0, 0);
    for line in lines(text) {
        rows += usize::from(!line.is_blank());
        cues += usize::from(is_times(line.text));
    }
    cues >= CUES && cues * 12 >= rows
}

/// Splits captions into cues.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let mut builder = Builder::default();
    let mut in_cue = false;
    let mut apart = true;
    for (index, line) in lines.iter().enumerate() {
        let begins = apart;
        apart = line.is_blank();
        let next = lines.get(index + 1).is_some_and(|next| is_times(next.text));
        if is_times(line.text) {
            if !in_cue || builder.last() != Some(Role::Label) {
                builder.add(line.start, Role::Label, true);
            }
            in_cue = true;
        } else if begins && next && !apart {
            builder.add(line.start, Role::Label, true);
            in_cue = true;
        } else if !apart && in_cue && !(begins && is_comment(line.text)) {
            if builder.last() == Some(Role::Label) {
                builder.add(line.start, Role::Text, false);
            }
        } else if !apart && begins {
            // The file's header, comments and styles.
            builder.add(line.start, Role::Noise, true);
            in_cue = false;
        }
    }
    builder.blocks(text)
}

fn is_comment(line: &str) -> bool {
    ["NOTE", "STYLE", "REGION"].iter().any(|word| {
        line.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    })
}
