//! Tells text whose line breaks are meant, such as code without fences, records, verse, from running
//! text that is wrapped: in a wrapped text the first word of a line would not have fit on the one
//! above.

use super::lines::lines;

/// Shorter lines, in bytes, go with the line below: a brace, a quotation mark, a tag.
const SHORT: usize = 40;
/// Paragraphs up to this many bytes are not looked at.
const SMALL: usize = 200;

/// Offsets at which the lines of a paragraph end, short ones taken together; none where it is wrapped,
/// small or one line. The last is `text.len()`.
pub fn line_ends(text: &str) -> Option<Vec<usize>> {
    let lines = lines(text);
    if text.len() <= SMALL || lines.len() < 3 || !are_meant(&lines.iter().map(|l| l.text).collect::<Vec<_>>())
    {
        return None;
    }
    let mut ends: Vec<usize> = Vec::new();
    let mut start = 0;
    for end in lines.iter().skip(1).map(|line| line.start) {
        if text[start..end].trim().len() >= SHORT {
            ends.push(end);
            start = end;
        }
    }
    if text[start..].trim().len() < SHORT {
        ends.pop();
    }
    ends.push(text.len());
    Some(ends)
}

/// Whether most lines leave room for the first word of the next, or stand further in or out than it.
/// The width is that of the longest quarter's shortest line, so that a single long line does not
/// count.
fn are_meant(lines: &[&str]) -> bool {
    let width = |text: &str| text.trim_end().chars().count();
    let indent = |text: &str| text.len() - text.trim_start().len();
    let mut widths: Vec<usize> = lines.iter().map(|line| width(line)).filter(|width| *width > 0).collect();
    widths.sort_unstable();
    let Some(widest) = widths.get(widths.len() * 3 / 4) else { return false };
    let (mut breaks, mut early) = (0, 0);
    for pair in lines.windows(2) {
        let Some(word) = pair[1].split_whitespace().next() else { continue };
        breaks += 1;
        let fits = width(pair[0]) + 1 + word.chars().count() <= *widest;
        early += usize::from(fits || indent(pair[0]) != indent(pair[1]));
    }
    2 * early > breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<&str> {
        let mut start = 0;
        let ends = line_ends(text).unwrap_or_default();
        ends.into_iter().map(|end| text[std::mem::replace(&mut start, end)..end].trim()).collect()
    }

    #[test]
    fn wrapped_text_stays_whole() {
        let wrapped = "Each contributor grants you a non-exclusive, worldwide, royalty-free\n\
                       patent license under the contributor's essential patent claims, to\n\
                       make, use, sell, offer for sale, import and otherwise run, modify and\n\
                       propagate the contents of its contributor version.\n\n";
        assert_eq!(line_ends(wrapped), None);
        assert_eq!(line_ends("one\ntwo\nthree\n"), None);
        assert_eq!(line_ends(""), None);
    }

    #[test]
    fn code_goes_by_lines() {
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
