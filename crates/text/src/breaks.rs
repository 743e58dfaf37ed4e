//! Distinguishes text with deliberate line breaks (unfenced code, records, verse) from hard-wrapped running
//! text: in wrapped text, the first word of a line would not have fit on the line above. Thresholds were set
//! by inspection of code, licences and logs (`eval/ranker/README.md`).

use super::lines::lines;

/// Lines of fewer bytes are joined with the line below: a brace, a quotation mark, a tag.
const SHORT: usize = 40;
/// Paragraphs up to this many bytes are never split.
const SMALL: usize = 200;

/// Offsets at which the lines of a paragraph or list item end, with short lines joined; `None` if it is
/// wrapped, small, or has fewer than three lines. The last offset is `text.len()`. `before` is the number of
/// characters in front of `text` on its first line, such as a label.
pub(crate) fn line_ends(text: &str, before: usize) -> Option<Vec<usize>> {
    let content = text.trim_end();
    if content.len() <= SMALL {
        return None;
    }
    let lines = lines(content);
    if lines.len() < 3 || !breaks_are_deliberate(&lines.iter().map(|l| l.text).collect::<Vec<_>>(), before) {
        return None;
    }
    let mut ends: Vec<usize> = Vec::new();
    let mut start = 0;
    for end in lines.iter().skip(1).map(|line| line.start) {
        if content[start..end].trim().len() >= SHORT {
            ends.push(end);
            start = end;
        }
    }
    if content[start..].trim().len() < SHORT {
        ends.pop();
    }
    ends.push(text.len());
    Some(ends)
}

/// Whether most lines leave room for the first word of the next one, or have a different indent. The width is
/// that of the shortest among the longest quarter of the lines, so that a single long line does not count.
fn breaks_are_deliberate(lines: &[&str], before: usize) -> bool {
    let width = |at: usize| lines[at].trim_end().chars().count() + if at == 0 { before } else { 0 };
    let indent = |text: &str| text.len() - text.trim_start().len();
    let mut widths: Vec<usize> = (0..lines.len()).map(width).filter(|width| *width > 0).collect();
    widths.sort_unstable();
    let quarter = (widths.len() * 3 / 4).min(widths.len().saturating_sub(2));
    let Some(widest) = widths.get(quarter) else { return false };
    let (mut breaks, mut early) = (0, 0);
    for (above, pair) in lines.windows(2).enumerate() {
        let Some(word) = first_word(pair[1]) else { continue };
        breaks += 1;
        let fits = width(above) + 1 + word.chars().count() <= *widest;
        // The first line of wrapped text may be indented differently, or outdented with a list marker.
        early += usize::from(fits || above > 0 && indent(pair[0]) != indent(pair[1]));
    }
    breaks > 1 && 2 * early > breaks
}

/// The first word after the marker that begins every line of a quotation or a comment.
fn first_word(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if first.contains(char::is_alphanumeric) { Some(first) } else { words.next().or(Some(first)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<&str> {
        let mut start = 0;
        let ends = line_ends(text, 0).unwrap_or_default();
        ends.into_iter().map(|end| text[std::mem::replace(&mut start, end)..end].trim()).collect()
    }

    #[test]
    fn wrapped_text_is_not_split() {
        let wrapped = "Each contributor grants you a non-exclusive, worldwide, royalty-free\n\
                       patent license under the contributor's essential patent claims, to\n\
                       make, use, sell, offer for sale, import and otherwise run, modify and\n\
                       propagate the contents of its contributor version.\n\n";
        assert_eq!(line_ends(wrapped, 0), None);
        for mark in ["> ", "# ", "// ", "-- "] {
            let marked: String = wrapped.lines().map(|line| format!("{mark}{line}\n")).collect();
            assert_eq!(line_ends(&marked, 0), None, "{mark}");
        }
        assert_eq!(line_ends("one\ntwo\nthree\n", 0), None);
        assert_eq!(line_ends("", 0), None);
    }

    #[test]
    fn a_single_long_line_does_not_count() {
        let linked = "The maintainers publish release notes and the checksums of all files\n\
                      at https://example.org/downloads/releases/2026/01/long/path/to/the/directory/of/checksums/index.html\n\
                      and expect that everybody who builds a package compares the checksums\n\
                      before it is uploaded to the mirrors of the project.\n";
        assert_eq!(line_ends(linked, 0), None);
    }

    #[test]
    fn an_item_with_a_hanging_indent_is_not_split() {
        let first = format!("- {}", "a word ".repeat(15));
        let second = format!("  {}", "and more ".repeat(11));
        for item in [format!("{first}\n{second}\n\n"), format!("{first}\n{second}\n{second}\n")] {
            assert_eq!(line_ends(&item, 0), None, "{item}");
        }
    }

    #[test]
    fn a_label_is_part_of_the_first_line() {
        let lines = "is wrapped where the line\nends, which is not seen by the part of the first line alone, but\n\
                     it is where the label that begins it is counted in, as a writer\nwould.  The rest is left to \
                     the lines that follow here below.\n";
        assert_eq!(line_ends(lines, 40), None);
    }

    #[test]
    fn indented_lines_are_deliberate() {
        let wide = "every_line_of_this_listing_is_as_wide_as_every_other";
        let listing = format!("{wide}\n  {wide}\n    {wide}\n  {wide}\n    {wide}\n");
        assert_eq!(units(&listing).len(), 5);
        assert_eq!(line_ends(&listing.replace("  ", ""), 0), None);
    }

    #[test]
    fn trailing_blank_lines_cost_nothing() {
        let code = "if x_is_long_enough_to_be_a_line_of_its_own_here_in_code:\n    \
                    call_something_with_a_long_name(of, some, arguments)\n"
            .repeat(3);
        let text = code.clone() + &"\n".repeat(1_000_000);
        let (mut short, long) = (line_ends(&code, 0).expect("meant"), line_ends(&text, 0).expect("meant"));
        *short.last_mut().expect("an end") = text.len();
        assert_eq!(short, long);
    }

    #[test]
    fn code_is_split_by_lines() {
        let code = "#: maximal line length when calling readline().\n_MAXLINE = 65536\n_MAXHEADERS = 100\n\
                    # Header name/value ABNF (http://tools.ietf.org/html/rfc7230#section-3.2)\n\
                    _is_legal_header_name = re.compile(rb'[^:\\s][^:\\r\\n]*').fullmatch\n\
                    if x:\n    y()\n";
        assert_eq!(
            units(code),
            [
                "#: maximal line length when calling readline().",
                "_MAXLINE = 65536\n_MAXHEADERS = 100\n# Header name/value ABNF (http://tools.ietf.org/html/rfc7230#section-3.2)",
                "_is_legal_header_name = re.compile(rb'[^:\\s][^:\\r\\n]*').fullmatch\nif x:\n    y()",
            ]
        );
    }
}
