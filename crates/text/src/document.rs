//! The input as spans, blocks and segments.

mod reading;

use std::{collections::HashMap, convert::Infallible, ops::Range};

use epitome_work::{Cancel, Stopped};

use crate::{
    Content, Hint, Kind, Role,
    cut::CutBlock,
    kinds::{self, rows::Numbering},
    long,
    prose::prose,
    segments,
    spans::{Block, Heading, Segment, SegmentSize, Span},
    tokens::{Check, TokenCounter, TokenTable},
};

/// Metadata about a text's origin. All of it may be missing or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The tool that returned it: its name, and the arguments of the call as JSON.
    pub call: Option<(String, String)>,
    /// A file name or path.
    pub file: Option<String>,
    /// A media type.
    pub media_type: Option<String>,
    /// Whether the query is that call rather than a question about the text.
    pub called: bool,
}

impl Origin {
    /// The same as a borrowed [`Hint`].
    pub fn hint(&self) -> Hint<'_> {
        Hint {
            call: self.call.as_ref().map(|(name, arguments)| (name.as_str(), arguments.as_str())),
            file: self.file.as_deref(),
            media_type: self.media_type.as_deref(),
        }
    }
}

/// A text with its structure.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// The input.
    pub text: &'a str,
    /// The kind of the text as a whole.
    pub kind: Kind,
    /// The offsets at which tokens end.
    pub tokens: TokenTable,
    /// Spans in order; they tile the text.
    pub spans: Vec<Span>,
    /// Blocks in order; their spans tile the spans.
    pub blocks: Vec<Block>,
    /// Headings in order.
    pub headings: Vec<Heading>,
    /// Segments in order; their spans tile the spans.
    pub segments: Vec<Segment>,
    /// How its lines are numbered, if they are.
    numbering: Option<Numbering>,
    /// For each span, the span with its page number; empty if pages are not numbered.
    page_marks: Vec<Option<usize>>,
}

/// Finds the labels that name a single block.
fn number(text: &str, numbering: Option<Numbering>, spans: &[Span], blocks: &mut [Block]) {
    let label = |block: &Block| {
        let label = &text[spans[block.spans.start].range.clone()];
        numbering.and_then(|numbering| numbering.behind(label).next()).unwrap_or(label).trim()
    };
    let named = |block: &&Block| block.labelled && block.content != Content::Table;
    let mut times: HashMap<&str, usize> = HashMap::new();
    for block in blocks.iter().filter(named) {
        *times.entry(label(block)).or_default() += 1;
    }
    for block in blocks.iter_mut() {
        block.numbered = named(&&*block)
            && label(block).contains(|c: char| c.is_ascii_digit())
            && times.get(label(block)) == Some(&1);
    }
}

impl<'a> Document<'a> {
    /// The structure of `text`, treated as running text.
    pub fn new(text: &'a str, counter: &dyn TokenCounter, size: SegmentSize) -> Self {
        let Ok(document) =
            Self::checked::<Infallible>(text, Kind::Prose, prose(text), counter, size, &|| Ok(()));
        document
    }

    /// The structure of `text` of a `kind`, given its blocks `cut`, which must tile it. Stops when `cancel`
    /// says so.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if cancelled.
    pub fn cut(
        text: &'a str,
        kind: Kind,
        cut: Vec<CutBlock>,
        counter: &dyn TokenCounter,
        size: SegmentSize,
        cancel: &Cancel,
    ) -> Result<Self, Stopped> {
        Self::checked(text, kind, cut, counter, size, &|| cancel.check())
    }

    fn checked<E: Send>(
        text: &'a str,
        kind: Kind,
        cut: Vec<CutBlock>,
        counter: &dyn TokenCounter,
        size: SegmentSize,
        check: Check<'_, E>,
    ) -> Result<Self, E> {
        let tokens = TokenTable::checked(counter, text, check)?;
        let numbering = kind.is_lined().then(|| Numbering::of(text)).flatten();
        let marked = |b: &&CutBlock| {
            b.content == Content::Heading
                && b.pieces.first().is_some_and(|p| text[p.range.clone()].starts_with('#'))
        };
        let markdown =
            cut.iter().any(|b| b.content == Content::Code) || cut.iter().filter(marked).count() > 1;
        let (mut spans, mut blocks): (Vec<Span>, Vec<Block>) = (Vec::new(), Vec::with_capacity(cut.len()));
        let mut headings: Vec<Heading> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut unclosed = 0;
        for raw in cut {
            check()?;
            let first = spans.len();
            let index = blocks.len();
            let label = raw.pieces.first().is_some_and(|piece| piece.role == Role::Label);
            let labelled = label && raw.content != Content::Heading;
            let bytes =
                raw.pieces.first().map_or(0, |p| p.range.start)..raw.pieces.last().map_or(0, |p| p.range.end);
            for piece in raw.pieces {
                let mut start = piece.range.start;
                for end in long::part_ends(text, kind, &piece) {
                    spans.push(Span {
                        tokens: tokens.count(&(start..end)),
                        range: start..end,
                        content: piece.content,
                        block: index,
                        segment: 0,
                        role: piece.role,
                        part: start > piece.range.start,
                        code: kind.has_fences() && piece.content == Content::Code,
                    });
                    start = end;
                }
            }
            // The number of a page governs the text on that page, independently of the sections.
            let page = kind == Kind::Pages && label;
            let heading = raw.content == Content::Heading && !raw.closes && !page;
            if heading || raw.level > 0 && !page {
                while open.last().is_some_and(|h| headings[*h].level >= raw.level) {
                    open.pop();
                }
            }
            if heading {
                headings.push(Heading { span: first, level: raw.level, parent: open.last().copied() });
            }
            blocks.push(Block {
                spans: first..spans.len(),
                content: raw.content,
                labelled,
                numbered: false,
                heading: open.last().copied(),
                closing: None,
                tokens: tokens.count(&bytes),
            });
            if heading {
                open.push(headings.len() - 1);
            }
            if raw.closes {
                for block in &mut blocks[unclosed..index] {
                    block.closing = Some(first);
                }
                unclosed = index + 1;
            }
        }
        number(text, numbering, &spans, &mut blocks);
        let segments = segments::segments(text, &spans, &tokens, markdown, (size.min, size.max), check)?;
        let segments: Vec<Segment> = segments
            .into_iter()
            .map(|range| {
                let bytes = spans[range.start].range.start..spans[range.end - 1].range.end;
                Segment { tokens: tokens.count(&bytes), range: bytes, spans: range }
            })
            .collect();
        for (index, segment) in segments.iter().enumerate() {
            for span in &mut spans[segment.spans.clone()] {
                span.segment = index;
            }
        }
        let page_marks = if kind == Kind::Pages { kinds::pages::marks_of(text, &spans) } else { Vec::new() };
        Ok(Document { text, kind, tokens, spans, blocks, headings, segments, numbering, page_marks })
    }

    /// The span with the number of the page that a span begins on.
    pub fn page_mark(&self, span: usize) -> Option<usize> {
        self.page_marks.get(span).copied().flatten()
    }

    /// Marks the spans in `ranges`, which must be sorted, as code that may have to stay whole.
    pub fn mark_code(&mut self, ranges: &[Range<usize>]) {
        for range in ranges {
            let first = self.spans.partition_point(|span| span.range.end <= range.start);
            for at in first..self.spans.len() {
                if self.spans[at].range.start >= range.end {
                    break;
                }
                // The name of a block is kept along with it anyway.
                if self.spans[at].role != Role::Label && !self.span_text(at).is_empty() {
                    let span = &mut self.spans[at];
                    span.code = true;
                    if span.content == Content::Heading {
                        span.content = Content::Code;
                    }
                }
            }
        }
    }

    /// Whether most of it was generated by programs: rows, records, lines.
    pub fn is_mostly_machine(&self) -> bool {
        let machine = |span: &&Span| span.content.is_machine();
        let tokens: usize = self.spans.iter().filter(machine).map(|span| span.tokens).sum();
        self.kind.is_in_place() && 2 * tokens > self.tokens.total()
    }

    /// The text of a span without surrounding white space.
    pub fn span_text(&self, span: usize) -> &'a str {
        self.text[self.spans[span].range.clone()].trim()
    }

    /// The byte range of consecutive spans without surrounding white space.
    pub fn trimmed(&self, spans: &Range<usize>) -> Range<usize> {
        if spans.is_empty() {
            return 0..0;
        }
        let start = self.spans[spans.start].range.start;
        let end = self.spans[spans.end - 1].range.end;
        let text = &self.text[start..end];
        let left = start + (text.len() - text.trim_start().len());
        left..left + text.trim().len()
    }

    /// The headings above a block as spans, the highest first.
    pub fn heading_path(&self, block: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut next = self.blocks[block].heading;
        while let Some(heading) = next {
            path.push(self.headings[heading].span);
            next = self.headings[heading].parent;
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens;
    use proptest::prelude::*;

    const SIZE: SegmentSize = SegmentSize { min: 1000, max: 2000 };

    fn document<'a>(text: &'a str) -> Document<'a> {
        Document::new(text, tokens::tiktoken("gpt-4").expect("known").as_ref(), SIZE)
    }

    fn check(doc: &Document<'_>) {
        let mut at = 0;
        for span in &doc.spans {
            assert_eq!(span.range.start, at);
            assert!(span.range.end > at && doc.text.is_char_boundary(span.range.end));
            at = span.range.end;
        }
        assert_eq!(at, doc.text.len());
        let mut next = 0;
        for block in &doc.blocks {
            assert_eq!(block.spans.start, next);
            next = block.spans.end;
        }
        assert_eq!(next, doc.spans.len());
        let mut next = 0;
        for (i, segment) in doc.segments.iter().enumerate() {
            assert_eq!(segment.spans.start, next);
            assert!(!segment.spans.is_empty());
            next = segment.spans.end;
            let last = i + 1 == doc.segments.len();
            assert!(segment.tokens <= SIZE.max + 1 || segment.spans.len() == 1, "{} tokens", segment.tokens);
            let single =
                doc.spans[segment.spans.clone()].iter().chain(doc.spans.get(next)).any(|s| s.tokens > 1000);
            assert!(last || segment.tokens + 1 >= SIZE.min || single, "{} tokens", segment.tokens);
        }
        assert_eq!(next, doc.spans.len());
    }

    #[test]
    fn separated_values_are_rows() {
        let rows = "code,place,remark\nAD,+42+01,\n\"AE,OM\",+25+55,Crozet\nAF,+34+69,\n";
        for text in [rows.to_owned(), rows.replace(',', ";"), rows.replace(',', "|")] {
            let doc = document(&text);
            check(&doc);
            let kinds: Vec<_> = doc.spans.iter().map(|s| s.content.as_str()).collect();
            assert_eq!(kinds, ["heading", "table", "table", "table"], "{text}");
        }
        for text in [
            "He came, saw, won\nand went, slept, ate\nthen rose, ran, fell\n",
            "One,two,three\nand four,five,six\n\nbut not more,than,two\n",
            "1,200,000 people\nlived in 3,400 towns\nof 2,100,300 houses\n",
        ] {
            assert!(document(text).spans.iter().all(|s| s.content != Content::Table), "{text}");
        }
    }

    #[test]
    fn kinds_of_content() {
        let text = "# Title\n\nFirst one. Second one.\n\n```rust\nfn main() {}\n\nlet x;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\n- item one\n- item two. More.\n\n## Part\nDocument [2](Title: Y) It is. Yes.\n{\"k\": [1, 2, 3], \"l\": 1.10}\n2026-01-02T03:04:05Z up\n  detail\n";
        let doc = document(text);
        check(&doc);
        let kinds: Vec<_> =
            doc.spans.iter().map(|s| (s.content.as_str(), doc.text[s.range.clone()].trim())).collect();
        assert_eq!(
            kinds,
            [
                ("heading", "# Title"),
                ("prose", "First one."),
                ("prose", "Second one."),
                ("code", "```rust\nfn main() {}\n\nlet x;\n```"),
                ("heading", "| a | b |\n|---|---|"),
                ("table", "| 1 | 2 |"),
                ("table", "| 3 | 4 |"),
                ("list", "- item one"),
                ("list", "- item two."),
                ("list", "More."),
                ("heading", "## Part"),
                ("heading", "Document [2](Title: Y)"),
                ("prose", "It is."),
                ("prose", "Yes."),
                ("json", "{\"k\": [1, 2, 3], \"l\": 1.10}"),
                ("log", "2026-01-02T03:04:05Z up\n  detail"),
            ]
        );
        let last = doc.spans.last().map(|s| s.block).unwrap_or_default();
        assert_eq!(doc.heading_path(last).len(), 2);
    }

    #[test]
    fn long_records_are_split_and_transcripts_are_prose() {
        let frame = "  at org.example.Deep.call(Deep.java:12)\n";
        let trace = format!("2026-01-02T03:04:05Z failed\n{}", frame.repeat(40));
        let doc = document(&trace);
        assert_eq!((doc.blocks.len(), doc.spans.len()), (1, 41));
        assert!(doc.spans.iter().all(|span| span.content == Content::Log));
        let doc = document("2026-01-02T03:04:05Z failed. Tried again.\n  detail\n\n\n");
        assert_eq!(doc.spans.len(), 1);
        let said = "[00:12:30] Ann: Thank you. The budget was approved by the board in May.\n";
        let doc = document(said);
        assert!(doc.spans.len() > 1 && doc.spans.iter().all(|span| span.content != Content::Log));
    }

    #[test]
    fn comments_are_not_headings() {
        let headings =
            |text: &str| document(text).spans.iter().filter(|span| span.content == Content::Heading).count();
        assert_eq!(headings("# Part\n\nText.\n\n## Section\nMore text.\n"), 2);
        assert_eq!(headings("# This comment goes\n# over two lines.\nx = 1\n"), 0);
        assert_eq!(headings("all:\n\t# build it\n\tmake\n"), 0);
    }

    #[test]
    fn odd_inputs_tile() {
        let lines = "x\n".repeat(100_000);
        let words = "lorem ipsum dolor ".repeat(300_000);
        let solid = "a".repeat(5_000_000);
        let deep = "[".repeat(100_000);
        let fences = "```a\n".repeat(20_000);
        let code =
            "if this_line_is_long_enough_to_stand_for_itself_in_code:\n    then_this_one(follows, it)\n";
        let blank = code.repeat(3) + &"\n".repeat(1_000_000);
        for text in [
            "",
            "\n\n\n",
            "\0\0",
            "a",
            &lines,
            &words,
            &solid,
            &deep,
            &fences,
            &blank,
            "``` \n```",
            "| a |\n| b |",
        ] {
            check(&document(text));
        }
    }

    proptest! {
        #[test]
        fn any_text_tiles(text in "([A-Za-z ,.#|`\\-\\[\\]{}:\"0-9é。]{0,60}\n{0,3}){0,40}") {
            check(&document(&text));
        }
    }
}
