//! Splits pieces that are too long to be kept or dropped as a whole: a log record, a table cell or a line of
//! minified code may exceed the whole budget and still contain the answer.

use super::{
    cut::{Content, Piece, Role},
    kinds::Kind,
    sentences,
};

/// Pieces of more bytes than this are split.
const LONG: usize = sentences::LONGEST;
/// Target size of a part in bytes.
const PART: usize = 400;
/// The same for lines with a number in front. Tools that add numbers often cut lines here.
const LINE: usize = 2000;

/// The ends of a piece's parts; the last one is the end of the piece. Running text is excluded because only
/// its sentences are long, and they stay whole. A record of a JSON document is kept or dropped as a whole,
/// because the result would not be valid otherwise.
pub(super) fn part_ends(text: &str, kind: Kind, piece: &Piece) -> Vec<usize> {
    let own = &text[piece.range.clone()];
    let lined = kind.is_lined();
    let most = if lined { LINE } else { LONG };
    let whole = kind.is_calibrated()
        || lined && kind.has_fences() && piece.content == Content::Code
        || !matches!(piece.role, Role::Text | Role::Critical)
        || piece.content == Content::Heading
        || kind == Kind::Json && piece.content == Content::Json
        || own.len() <= most
        || own.trim().len() <= most;
    if whole {
        return vec![piece.range.end];
    }
    let ends = match piece.content {
        _ if lined => line_ends(own, LINE),
        Content::Prose | Content::List => sentences::part_ends(own, LONG),
        _ => line_ends(own, PART),
    };
    let mut ends: Vec<usize> = ends.into_iter().map(|end| piece.range.start + end).collect();
    // Trailing white space is not a separate part.
    let said = piece.range.start + own.trim_end().len();
    ends.truncate(ends.partition_point(|end| *end < said));
    ends.push(piece.range.end);
    ends
}

/// The ends of runs of lines no longer than a part, and of the parts of lines longer than `most`.
fn line_ends(text: &str, most: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if end - start > PART && at > start {
            ends.push(at);
            start = at;
        }
        if line.len() > most {
            // The line break is not a separate part.
            let said = line.trim_end().len();
            let parts = sentences::part_ends(line, PART).into_iter().filter(|end| *end < said);
            ends.extend(parts.map(|part| at + part));
            ends.push(end);
            start = end;
        }
        at = end;
    }
    if start < text.len() {
        ends.push(text.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_and_runs_of_lines_are_split() {
        let piece = |text: &str, content| Piece { range: 0..text.len(), content, role: Role::Text };
        let lines = "+ a line of a hunk\n".repeat(100);
        let ends = part_ends(&lines, Kind::Diff, &piece(&lines, Content::Code));
        assert!(ends.len() > 3 && ends.iter().all(|end| lines[..*end].ends_with('\n')));
        let solid = format!("short\n{}\nshort\n\n", "x".repeat(3000));
        let ends = part_ends(&solid, Kind::Log, &piece(&solid, Content::Log));
        assert!(
            ends.is_sorted() && ends[0] == 6 && ends.len() > 7 && ends.last() == Some(&solid.len()),
            "{ends:?}"
        );
        assert!(ends.windows(2).all(|pair| !solid[pair[0]..pair[1]].trim().is_empty()));
        for (kind, content) in
            [(Kind::Prose, Content::Code), (Kind::Json, Content::Json), (Kind::Html, Content::Heading)]
        {
            assert_eq!(part_ends(&solid, kind, &piece(&solid, content)), [solid.len()]);
        }
        let blank = "\n".repeat(5000);
        assert_eq!(part_ends(&blank, Kind::Log, &piece(&blank, Content::Log)), [5000]);
    }
}
