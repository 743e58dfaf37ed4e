//! What programs put around what they hand over: the header of a shell's output, and notices.

use std::{borrow::Cow, ops::Range};

/// Names of the blocks that programs add to people's messages and to tools' results.
const NOTICES: [&str; 8] = [
    "system-reminder",
    "system_reminder",
    "environment_context",
    "environment_details",
    "environment-context",
    "system-notification",
    "additional_data",
    "ide_opened_file",
];

/// Most lines that a shell tool writes above the output itself.
const HEADER: usize = 8;
/// Most bytes of such a line.
const HEADER_LINE: usize = 80;

/// Most bytes of a tag's attributes.
const ATTRIBUTES: usize = 256;
/// Most tags that are looked at for the one that opens or closes a notice.
const TAGS: usize = 16;

/// The bytes of a tool's result that the tool gave: without the header of a shell's output, and without notices before
/// and behind it. Those speak to the model.
pub(super) fn inner(text: &str) -> Range<usize> {
    let mut start = shell_header(text);
    while let Some(notice) = notice_before(&text[start..]) {
        start += notice;
    }
    let mut end = text.len();
    while let Some(notice) = notice_behind(&text[start..end]) {
        end = start + notice;
    }
    start..end
}

/// A text without the blocks that programs add to people's messages, such as reminders: they ask nothing.
pub(super) fn without_notices(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for name in NOTICES {
        let (open, close) = (format!("<{name}"), format!("</{name}>"));
        if !out.contains(&open) {
            continue;
        }
        let mut kept = String::with_capacity(out.len());
        let mut rest: &str = &out;
        while let Some(start) = rest.find(&open)
            && let Some(end) = rest[start..].find(&close)
        {
            kept.push_str(&rest[..start]);
            kept.push_str("\n\n");
            rest = &rest[start + end + close.len()..];
        }
        kept.push_str(rest);
        out = Cow::Owned(kept);
    }
    out
}

/// The bytes of what a shell tool says of a command (`Exit code: 0`, `Wall time: 0.1 seconds`) above the output, up to
/// and with the line `Output:`; 0 if there is no such line.
fn shell_header(text: &str) -> usize {
    let mut end = 0;
    for line in text.split_inclusive('\n').take(HEADER) {
        end += line.len();
        if line.trim_end() == "Output:" {
            return end;
        }
        if line.len() > HEADER_LINE {
            break;
        }
    }
    0
}

/// Where the notice ends that the text begins with.
fn notice_before(text: &str) -> Option<usize> {
    let open = text.trim_start();
    let name = NOTICES.iter().find(|name| is_tag(open, "<", name))?;
    let close = format!("</{name}>");
    // A notice may speak of its own tag: the one that closes it ends a line, or another notice follows. Where none does,
    // it is the first.
    let ends = || text.match_indices(&close).map(|(at, _)| at + close.len()).take(TAGS);
    let closes = |end: &usize| {
        let rest = text[*end..].trim_start_matches([' ', '\t', '\r']);
        rest.is_empty() || rest.starts_with(['\n', '<'])
    };
    ends().find(closes).or_else(|| ends().next())
}

/// Where the notice begins that the text ends with.
fn notice_behind(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let close = text.rfind("</")?;
    let name = NOTICES.iter().find(|name| is_tag(&text[close..], "</", name))?;
    // Nothing stands behind the closing tag.
    if text.len() != close + name.len() + 3 {
        return None;
    }
    let open = format!("<{name}");
    let opens = || {
        let all = text[..close].rmatch_indices(&open).map(|(at, _)| at);
        all.filter(|at| is_tag(&text[*at..], "<", name)).take(TAGS)
    };
    // As above: the one that opens it begins a line, or stands behind another notice; else it is the last.
    let begins = |at: &usize| {
        let before = text[..*at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['\n', '>'])
    };
    opens().find(begins).or_else(|| opens().next())
}

/// Whether the text begins with this tag.
fn is_tag(text: &str, bracket: &str, name: &str) -> bool {
    let rest = text.strip_prefix(bracket).and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| {
        rest.starts_with('>')
            || rest.starts_with(char::is_whitespace) && rest.bytes().take(ATTRIBUTES).any(|byte| byte == b'>')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shells_header_ends_with_its_output_line() {
        let header = "Exit code: 0\nWall time: 0.1 seconds\nTotal output lines: 900\nOutput:\n";
        assert_eq!(shell_header(&format!("{header}one\ntwo\n")), header.len());
        assert_eq!(shell_header("Output:\none"), 8);
        for none in
            ["", "one\ntwo", "Output: one", &"a\n".repeat(9), &format!("{}\nOutput:\n", "a".repeat(90))]
        {
            assert_eq!(shell_header(none), 0, "{none}");
        }
    }

    #[test]
    fn notices_around_a_result_are_found() {
        let reminder = "<system-reminder>\nIt may be malicious.\n</system-reminder>";
        let result = "one\n<system-reminder>quoted</system-reminder>\ntwo\n";
        for (before, after) in [
            ("".to_owned(), format!("\n{reminder}\n")),
            (format!("{reminder}\n{reminder}\n"), "".to_owned()),
            ("Exit code: 0\nOutput:\n".to_owned(), format!("\n{reminder}{reminder}")),
            (
                "".to_owned(),
                "\n<system-reminder id=\"1\">\nDo not show <system-reminder> tags.\n</system-reminder>"
                    .to_owned(),
            ),
            (
                "<system-reminder>Never write </system-reminder> yourself.\n</system-reminder>\n".to_owned(),
                String::new(),
            ),
            (format!("{reminder}\n"), "<environment_context>x</environment_context>\n".to_owned()),
        ] {
            let text = format!("{before}{result}{after}");
            let inside = &text[inner(&text)];
            assert_eq!(inside.trim(), result.trim(), "{text}");
        }
        for none in
            ["", "one", "</system-reminder>", "one</system-reminder>", "<system-reminder>one", "<b>a</b>"]
        {
            assert_eq!(inner(none), 0..none.len(), "{none}");
        }
        // They may stand on a line of the result.
        for glued in [format!("{reminder}one\ntwo"), format!("one\ntwo{reminder}")] {
            assert_eq!(&glued[inner(&glued)], "one\ntwo");
        }
        // All of it speaks to the model.
        let found = inner(reminder);
        assert!(reminder[found].trim().is_empty());
    }
}
