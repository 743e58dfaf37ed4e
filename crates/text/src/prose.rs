//! Running text and what may stand in it, as blocks.

use std::ops::Range;

use crate::{
    Content, Role,
    blocks::{self, RawBlock},
    breaks,
    cut::{CutBlock, Piece},
    json, lines, sentences,
};

/// Splits running text and its usual elements into blocks.
pub fn prose(text: &str) -> Vec<CutBlock> {
    let cut = |raw: RawBlock| {
        let (pieces, labelled) = pieces(text, &raw);
        let role = |index: usize| if index == 0 && labelled { Role::Label } else { Role::Text };
        let piece = |(index, (range, content))| Piece { range, content, role: role(index) };
        CutBlock {
            pieces: pieces.into_iter().enumerate().map(piece).collect(),
            content: raw.content,
            level: raw.level,
            closes: false,
        }
    };
    blocks::blocks(text).into_iter().map(cut).filter(|block| !block.pieces.is_empty()).collect()
}

/// The spans of a block, and whether the first one is a label.
fn pieces(text: &str, block: &RawBlock) -> (Vec<(Range<usize>, Content)>, bool) {
    let mut pieces: Vec<(Range<usize>, Content)> = Vec::new();
    let mut start = block.range.start;
    let mut push = |end: usize, content: Content| {
        if end > start {
            pieces.push((start..end, content));
            start = end;
        }
    };
    let end = block.range.end;
    let mut labelled = false;
    match block.content {
        Content::Heading | Content::Code | Content::Line => push(end, block.content),
        Content::Log => {
            // A long record is a stack trace, or speech after a timestamp.
            if end - block.range.start > sentences::LONGEST {
                let lines = lines::lines(&text[block.range.clone()]);
                let mut starts: Vec<usize> = lines
                    .iter()
                    .filter(|line| !line.is_blank())
                    .map(|l| block.range.start + l.start)
                    .collect();
                starts.push(end);
                for line in starts.windows(2) {
                    for sentence in sentences::sentence_ends(&text[line[0]..line[1]]) {
                        push(line[0] + sentence, Content::Log);
                    }
                }
            }
            push(end, Content::Log);
        }
        Content::Json => {
            for cut in json::cuts(text, block.range.clone()) {
                push(cut, Content::Json);
            }
            push(end, Content::Json);
        }
        Content::Table => {
            let rows = lines::lines(&text[block.range.clone()]);
            let at = |row: usize| rows.get(row).map_or(end, |line| block.range.start + line.start);
            let ruled = rows.get(1).is_some_and(lines::Line::is_table_rule);
            let header = if ruled { 2 } else { 1 };
            labelled = rows.iter().filter(|row| !row.is_blank()).count() > header;
            push(at(header), if labelled { Content::Heading } else { Content::Table });
            for line in rows.iter().skip(header + 1).filter(|line| !line.is_blank()) {
                push(block.range.start + line.start, Content::Table);
            }
            push(end, Content::Table);
        }
        Content::Prose | Content::List => {
            let from = block.range.start + block.label;
            if block.label > 0 && from < end {
                push(from, Content::Heading);
                labelled = true;
            }
            let from = from.min(end);
            let before = text[block.range.start..from].chars().count();
            let meant = breaks::line_ends(&text[from..end], before);
            let mut start = from;
            for stop in meant.unwrap_or_else(|| vec![end - from]) {
                for sentence in sentences::sentence_ends(&text[start..from + stop]) {
                    push(start + sentence, block.content);
                }
                start = from + stop;
            }
            push(end, block.content);
        }
    }
    (pieces, labelled)
}
