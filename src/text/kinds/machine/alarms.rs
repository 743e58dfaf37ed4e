//! The few lines of a list, or rows of a table, that tell of something that went wrong.

use super::marks::{Line, Mark};
use crate::text::cut::{Content, Role};

/// Lines that tell of it are critical while they are so few, or this share of all, as a divisor.
const FEW: (usize, usize) = (3, 20);
/// In fewer lines none stands out.
const LINES: usize = 10;
/// Words for what went wrong, in capitals anywhere in a line.
const WORDS: [&str; 11] = [
    "FAILED", "FAILURE", "FAIL", "ERROR", "ERRORS", "FATAL", "CRITICAL", "PANIC", "CRASHED", "CORRUPT",
    "ABORTED",
];
/// The same in lower case.
const SAID: [&str; 8] = ["failed", "failure", "error", "fatal", "crashed", "corrupt", "mismatch", "refused"];

/// Makes the lines that tell of something that went wrong critical, if they are few.
pub fn raise(lines: &[Line<'_>], marks: &mut [Mark]) {
    let entry =
        |mark: &Mark| matches!(mark.content, Content::Line | Content::Table) && mark.role == Role::Text;
    let all = lines.iter().zip(marks.iter()).filter(|(line, mark)| entry(mark) && !line.is_blank()).count();
    let found: Vec<usize> =
        (0..lines.len()).filter(|at| entry(&marks[*at]) && is_alarm(lines[*at].look())).collect();
    if all >= LINES && found.len() <= FEW.0.max(all / FEW.1) {
        for at in found {
            marks[at].role = Role::Critical;
        }
    }
}

fn is_alarm(text: &str) -> bool {
    // A part of a path or of a name says nothing.
    let whole = |word: &str| word.trim_matches(|c: char| ":,;.!()[]\"'".contains(c)).to_owned();
    text.split([' ', '\t', '|', ',']).map(whole).any(|word| WORDS.contains(&&*word) || SAID.contains(&&*word))
}

#[cfg(test)]
mod tests {
    use crate::text::{
        cut::{Hint, Role},
        kinds::cut,
    };

    fn critical(text: &str) -> Vec<String> {
        let (_, blocks) = cut(text, Hint::default());
        let pieces = blocks.iter().flat_map(|block| &block.pieces);
        pieces.filter(|p| p.role == Role::Critical).map(|p| text[p.range.clone()].trim().to_owned()).collect()
    }

    #[test]
    fn the_one_file_that_failed_is_critical() {
        let copied = |i: usize| format!("{i:>4} copied /srv/data/{}/error/{}.tif\n", i % 3, i * 37);
        let mut text: String = (0..60).map(copied).collect();
        text.push_str("  60 FAILED /srv/data/2/7741.tif: checksum mismatch, expected 9f31aa\n");
        text.extend((61..90).map(copied));
        assert_eq!(critical(&text), ["60 FAILED /srv/data/2/7741.tif: checksum mismatch, expected 9f31aa"]);
        let all: String = (0..60).map(|i| format!("{i:>4} FAILED /srv/data/{}.tif\n", i * 37)).collect();
        assert!(critical(&all).is_empty());
    }

    #[test]
    fn the_one_unit_that_failed_is_critical() {
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
