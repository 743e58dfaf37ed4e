//! Finds the few lines of a list, or rows of a table, that report a failure.

use super::marks::{Line, Mark};
use crate::cut::{Content, Role};

/// Alarm lines are critical if there are at most this many, or at most this share of all lines, as a divisor.
const FEW: (usize, usize) = (3, 20);
/// With fewer lines than this, no line stands out.
const LINES: usize = 10;
/// Number of words at the beginning of a line to search for an alarm word.
const FIRST: usize = 4;
/// Maximum bytes of a cell that may be a status.
const CELL: usize = 24;
/// Words for failures in capitals.
const WORDS: [&str; 11] = [
    "FAILED", "FAILURE", "FAIL", "ERROR", "ERRORS", "FATAL", "CRITICAL", "PANIC", "CRASHED", "CORRUPT",
    "ABORTED",
];
/// Words for failures in lower case.
const SAID: [&str; 8] = ["failed", "failure", "error", "fatal", "crashed", "corrupt", "mismatch", "refused"];

/// Makes the lines that report a failure critical, if there are only a few.
pub(super) fn raise(lines: &[Line<'_>], marks: &mut [Mark]) {
    let entry =
        |mark: &Mark| matches!(mark.content, Content::Line | Content::Table) && mark.role == Role::Text;
    let all = lines.iter().zip(marks.iter()).filter(|(line, mark)| entry(mark) && !line.is_blank()).count();
    let alarms = |at: &usize| match marks[*at].content {
        Content::Table => is_alarm_row(lines[*at].look()),
        _ => is_alarm_line(lines[*at].look()),
    };
    let found: Vec<usize> = (0..lines.len()).filter(|at| entry(&marks[*at])).filter(alarms).collect();
    if all >= LINES && found.len() <= FEW.0.max(all / FEW.1) {
        for at in found {
            marks[at].role = Role::Critical;
        }
    }
}

/// Whether one of the first words of a line, or the last one, reports a failure.
fn is_alarm_line(text: &str) -> bool {
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    words.iter().take(FIRST).chain(words.last()).any(|word| is_alarm(word))
}

/// Whether a short cell of a row reports a failure; longer cells are free text.
fn is_alarm_row(text: &str) -> bool {
    let separators = ['|', '\t', ',', ';'];
    if !text.contains(separators) {
        return is_alarm_line(text);
    }
    let short = |cell: &&str| cell.len() <= CELL && cell.split(' ').count() <= 2;
    text.split(separators).map(str::trim).filter(short).flat_map(|cell| cell.split(' ')).any(is_alarm)
}

fn is_alarm(word: &str) -> bool {
    // Part of a path or of a name means nothing.
    let word = word.trim_matches(|c: char| ":,;.!()[]\"'".contains(c));
    WORDS.contains(&word) || SAID.contains(&word)
}

#[cfg(test)]
mod tests {
    use crate::{
        cut::{Hint, Role},
        kinds::cut,
    };

    fn critical(text: &str) -> Vec<String> {
        let (_, blocks) = cut(text, Hint::default());
        let pieces = blocks.iter().flat_map(|block| &block.pieces);
        pieces.filter(|p| p.role == Role::Critical).map(|p| text[p.range.clone()].trim().to_owned()).collect()
    }

    #[test]
    fn a_single_failed_file_is_critical() {
        let copied = |i: usize| format!("{i:>4} copied /srv/data/{}/error/{}.tif\n", i % 3, i * 37);
        let mut text: String = (0..60).map(copied).collect();
        text.push_str("  60 FAILED /srv/data/2/7741.tif: checksum mismatch, expected 9f31aa\n");
        text.extend((61..90).map(copied));
        assert_eq!(critical(&text), ["60 FAILED /srv/data/2/7741.tif: checksum mismatch, expected 9f31aa"]);
        let all: String = (0..60).map(|i| format!("{i:>4} FAILED /srv/data/{}.tif\n", i * 37)).collect();
        assert!(critical(&all).is_empty());
    }

    #[test]
    fn prose_raises_no_alarm() {
        let row = |i: usize| {
            let said = if i % 30 == 7 {
                "Checkout failed twice, then an error came"
            } else {
                "Fine, thank you, all good"
            };
            format!("{i},customer{i}@example.com,{},\"{said}\"\n", i % 5)
        };
        let text: String =
            std::iter::once("id,mail,stars,text\n".to_owned()).chain((0..90).map(row)).collect();
        assert!(critical(&text).is_empty(), "{:?}", critical(&text));
    }

    #[test]
    fn a_single_failed_unit_is_critical() {
        let mut text = "UNIT                 LOAD   ACTIVE SUB     DESCRIPTION\n".to_owned();
        for (i, name) in ["cron", "dbus", "ssh", "udev", "nginx", "redis", "rsyslog", "chrony"]
            .repeat(3)
            .iter()
            .enumerate()
        {
            let state = if i == 13 { "failed failed " } else { "active running" };
            text.push_str(&format!(
                "{:<20} loaded {state} The {name} service\n",
                format!("{name}{i}.service")
            ));
        }
        assert_eq!(critical(&text).len(), 1, "{:?}", critical(&text));
    }
}
