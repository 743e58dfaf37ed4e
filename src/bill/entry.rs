//! What the journal says of one request: numbers, names and reasons, and none of its text.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    Dialect,
    prefix::Fate,
    statement::{Prompts, Statement},
    time::Time,
    usage::Usage,
};

/// A word of a fixed set. What is written is a constant of the program, so that no text of a request can get here.
pub type Word = Cow<'static, str>;

/// The longest line, with its end: what is written below this size is not torn apart by other writers of the same
/// file, wherever that file is.
pub const LONGEST_LINE: usize = 4096;
/// Most characters of a name that a client chooses.
const LONGEST_NAME: usize = 128;

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it came.
    pub time: Time,
    /// Its id, as in the log and in the response.
    pub id: String,
    /// Its dialect.
    pub dialect: Dialect,
    /// The path that the client asked for, as it wrote it.
    pub route: String,
    /// The model that the client named.
    pub model: String,
    /// `compacted`, `partial`, `passed` or `failed-open`.
    pub outcome: Word,
    /// Why it was not compacted; empty if it was.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reason: Word,
    /// The status of the upstream's answer; `None` if there was no answer.
    #[serde(default)]
    pub status: Option<u16>,
    /// Milliseconds that compaction took.
    pub ms: f64,
    /// The decision for each text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Text>,
    /// How many texts are not among them, to keep the line short.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub texts_left_out: usize,
    /// Tokens of evidence that was inserted.
    #[serde(default)]
    pub evidence: u64,
    /// Steps of ageing that old texts have taken: 0 to 2. The first line with a higher one has a broken prefix, and its
    /// `net_saved` says what that cost.
    #[serde(default, skip_serializing_if = "is_none")]
    pub ageing: u8,
    /// The prompt before and after, as counted here.
    pub prompts: Prompts,
    /// Whether the beginning that the client repeated was repeated upstream.
    pub prefix: Fate,
    /// What the answer reported; `None` if nothing.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What it cost: `unit`, `paid`, `direct` and `net_saved`; absent without usage.
    #[serde(flatten)]
    pub statement: Option<Statement>,
}

/// The decision for one text of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The kind of the text, such as `prose` or `log`.
    pub kind: Word,
    /// Where its query was found.
    pub query_from: Word,
    /// Its tokens before.
    pub tokens_before: u64,
    /// Its tokens after.
    pub tokens_after: u64,
    /// Why it passed; empty if it was compacted.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reason: Word,
    /// The id of the text, by which its original can be retrieved if it was compacted and is still in the cache; empty if
    /// there is none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub id: Cow<'static, str>,
}

fn is_none(step: &u8) -> bool {
    *step == 0
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Entry {
    /// Whether a text was compacted.
    pub fn is_compacted(&self) -> bool {
        matches!(self.outcome.as_ref(), "compacted" | "partial")
    }

    /// Its line, with the line break. Names that a client chose too long are cut; if the line is too long then, it
    /// has the first texts only and says how many are left out.
    ///
    /// # Errors
    ///
    /// The error of the serializer, which this type gives no reason for.
    pub fn line(mut self) -> Result<String, serde_json::Error> {
        for name in [&mut self.id, &mut self.route, &mut self.model] {
            cut(name);
        }
        for text in &mut self.texts {
            if text.id.len() > LONGEST_NAME {
                cut(text.id.to_mut());
            }
        }
        loop {
            let mut line = serde_json::to_string(&self)?;
            line.push('\n');
            if line.len() <= LONGEST_LINE || self.texts.is_empty() {
                return Ok(line);
            }
            let kept = self.texts.len() / 2;
            self.texts_left_out += self.texts.len() - kept;
            self.texts.truncate(kept);
        }
    }
}

fn cut(name: &mut String) {
    if let Some((end, _)) = name.char_indices().nth(LONGEST_NAME) {
        name.truncate(end);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bill::statement::Unit;

    pub(in crate::bill) fn entry() -> Entry {
        let usage = Usage { input: 4, cached: 20_000, written_5m: 1500, written_1h: 0, output: 89 };
        Entry {
            time: "2026-11-30T06:57:29.123Z".parse().unwrap(),
            id: "req-1".into(),
            dialect: Dialect::Messages,
            route: "/v1/messages".into(),
            model: "claude-opus-5-5".into(),
            outcome: "compacted".into(),
            reason: "".into(),
            status: Some(200),
            ms: 12.5,
            texts: vec![Text {
                kind: "log".into(),
                query_from: "call".into(),
                tokens_before: 9000,
                tokens_after: 1000,
                reason: "".into(),
                id: "e7".into(),
            }],
            texts_left_out: 0,
            evidence: 0,
            ageing: 0,
            prompts: Prompts {
                original: 30_000,
                sent: 22_000,
                original_repeated: 21_000,
                sent_repeated: 20_000,
            },
            prefix: Fate::Kept,
            usage: Some(usage),
            statement: Some(Statement { unit: Unit::Usd, paid: 0.5, direct: 0.75, net_saved: 0.25 }),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = entry().line().unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"time":"2026-11-30T06:57:29.123Z","id":"req-1","dialect":"messages","route":"/v1/messages","#,
                r#""model":"claude-opus-5-5","outcome":"compacted","status":200,"ms":12.5,"#,
                r#""texts":[{"kind":"log","query_from":"call","tokens_before":9000,"tokens_after":1000,"id":"e7"}],"#,
                r#""evidence":0,"prompts":{"original":30000,"sent":22000,"original_repeated":21000,"sent_repeated":20000},"#,
                r#""prefix":{"state":"kept"},"usage":{"input":4,"cached":20000,"written_5m":1500,"written_1h":0,"output":89},"#,
                r#""unit":"usd","paid":0.5,"direct":0.75,"net_saved":0.25}"#,
                "\n"
            )
        );
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry());
        let bare = Entry {
            reason: "no-text".into(),
            outcome: "passed".into(),
            status: None,
            texts: Vec::new(),
            prefix: Fate::Broken { at: 3 },
            usage: None,
            statement: None,
            ..entry()
        };
        let line = bare.clone().line().unwrap();
        assert!(!line.contains("paid") && line.contains(r#""reason":"no-text""#), "{line}");
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), bare);
    }

    #[test]
    fn long_lines_are_shortened_and_say_so() {
        let text = entry().texts[0].clone();
        let many = Entry { texts: vec![text; 500], model: "\u{1}".repeat(100_000), ..entry() };
        let line = many.line().unwrap();
        assert!(line.len() <= LONGEST_LINE, "{}", line.len());
        let read: Entry = serde_json::from_str(&line).unwrap();
        assert_eq!(read.texts.len() + read.texts_left_out, 500);
        assert!(!read.texts.is_empty() && read.model.chars().count() == LONGEST_NAME);
        assert_eq!(read.prompts, entry().prompts);
        // The longest names alone fit.
        let name = "\u{1}".repeat(1000);
        let names = Entry { id: name.clone(), route: name.clone(), model: name, ..entry() };
        assert!(names.line().unwrap().len() <= LONGEST_LINE);
    }
}
