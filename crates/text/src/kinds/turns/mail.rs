//! Mail: mailboxes and pasted threads. A message is a block with its header as label; its quotation is a
//! separate block, and noise if it repeats text from elsewhere.

use std::collections::HashSet;

use super::{builder::Builder, quotes::Said};
use crate::{
    cut::{CutBlock, Role},
    lines::{Line, lines},
};

/// Header fields that name a message.
const NAMING: &[&str] = &[
    "from", "to", "cc", "date", "sent", "subject", "von", "an", "datum", "gesendet", "betreff", "de", "à",
    "objet", "envoyé", "para", "asunto", "enviado", "fecha",
];

/// Other fields that a header can begin with.
const OTHER: &[&str] =
    &["return-path", "received", "delivered-to", "message-id", "mime-version", "reply-to", "bcc", "x-from"];

/// The field name of a header line, in lower case and without emphasis marks.
fn field(line: &str) -> Option<String> {
    let plain = line.trim_start_matches('*');
    let (colon, _) = plain.char_indices().take(40).find(|(_, c)| *c == ':')?;
    let name = &plain[..colon];
    let whole = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-');
    let behind = plain[colon + 1..].trim_start_matches('*');
    (whole && (behind.is_empty() || behind.starts_with([' ', '\t']))).then(|| name.to_lowercase())
}

/// The separator between messages in a mailbox.
fn is_mbox_separator(line: &str) -> bool {
    line.strip_prefix("From ").is_some_and(|rest| {
        let words: Vec<&str> = rest.split_whitespace().take(12).collect();
        words.len() >= 5
            && words.iter().any(|word| word.len() >= 5 && super::stamps::time(word) == Some(word.len()))
    })
}

/// A line above the header of a forwarded or answered message.
fn is_forward(line: &str) -> bool {
    let text = line.trim();
    let inner = text.trim_matches(['-', '_', ' ']);
    text.starts_with("---")
        && ["original message", "forwarded message", "ursprüngliche nachricht", "message d'origine"]
            .iter()
            .any(|words| inner.to_lowercase().starts_with(words))
}

/// The end of a header that begins at line `at`, with its number of fields; `None` if none begins there.
fn header(lines: &[Line<'_>], at: usize) -> Option<(usize, usize)> {
    let mut end = at;
    while end < at + 2
        && lines.get(end).is_some_and(|line| is_mbox_separator(line.text) || is_forward(line.text))
    {
        end += 1;
    }
    let led = end > at;
    let first = field(lines.get(end)?.text)?;
    if !led && !NAMING.contains(&first.as_str()) && !OTHER.contains(&first.as_str()) {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    while let Some(line) = lines.get(end) {
        if let Some(name) = field(line.text) {
            names.push(name);
        } else if line.is_blank() || names.is_empty() || !line.text.starts_with([' ', '\t']) {
            break;
        }
        end += 1;
    }
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    let whole = has(&["from", "von", "de"])
        && has(&[
            "date", "sent", "subject", "datum", "gesendet", "betreff", "objet", "envoyé", "asunto", "fecha",
            "enviado",
        ]);
    (whole || led && names.len() >= 2).then_some((end, names.len()))
}

/// The end of an attribution (`On Tuesday, Ann wrote:`) that begins at line `at` and is followed by a
/// quotation.
fn attribution(lines: &[Line<'_>], at: usize) -> Option<usize> {
    let wrote = |line: &Line<'_>| {
        let text = line.text.trim_end();
        let words = [
            "wrote:",
            "writes:",
            "said:",
            "schrieb:",
            "a écrit :",
            "a écrit:",
            "escribió:",
            "wrote (",
            "scrisse:",
        ];
        words.iter().any(|word| text.ends_with(word)) && text.len() < 200
    };
    if is_quote(lines[at].text) || lines[at].is_blank() {
        return None;
    }
    let end = at + 1 + lines[at..].iter().take(2).position(wrote)?;
    let behind = lines.get(end..).unwrap_or_default().iter().take(3).find(|line| !line.is_blank());
    behind.is_some_and(|line| is_quote(line.text)).then_some(end)
}

fn is_quote(line: &str) -> bool {
    line.starts_with('>') || line.starts_with(" >") || line.starts_with("|>")
}

/// Whether `text` is mail.
pub(super) fn detect(text: &str) -> bool {
    let lines = lines(text);
    let first = lines.iter().position(|line| !line.is_blank()).unwrap_or(0);
    let (mut headers, mut quoted, mut answers) = (0, 0, 0);
    let mut at = first;
    let mut apart = true;
    let mut leads = false;
    while at < lines.len() {
        if apart && let Some((end, fields)) = header(&lines, at) {
            headers += 1;
            leads |= at == first && (fields >= 4 || is_mbox_separator(lines[at].text));
            (at, apart) = (end, false);
            continue;
        }
        answers += usize::from(attribution(&lines, at).is_some());
        quoted += usize::from(is_quote(lines[at].text));
        apart = lines[at].is_blank() || lines[at].text.starts_with("___");
        at += 1;
    }
    leads || headers >= 2 || answers >= 2 && quoted * 8 >= lines.len() && (headers > 0 || answers >= 3)
}

/// The part of a message that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Quote,
    Signature,
    /// An enclosure that is not text.
    Enclosure,
}

/// Splits mail into messages.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let borders: HashSet<&str> = lines.iter().filter_map(|line| boundary(line.text)).collect();
    let is_border = |line: &str| {
        let name = line.trim_end().strip_prefix("--").map(|name| name.strip_suffix("--").unwrap_or(name));
        name.is_some_and(|name| borders.contains(name))
    };
    let mut said = Said::new(lines.iter().filter(|line| !is_quote(line.text)).map(|line| line.text));
    let mut builder = Builder::default();
    let (mut at, mut apart, mut state) = (0, true, State::Text);
    while at < lines.len() {
        let line = &lines[at];
        if (apart || is_forward(line.text))
            && let Some((end, _)) = header(&lines, at)
        {
            state = if naming(&lines[at..end], &mut builder) { State::Enclosure } else { State::Text };
            (at, apart) = (end, false);
            continue;
        }
        if is_border(line.text) {
            let fresh = builder.last() != Some(Role::Noise);
            builder.add(line.start, Role::Noise, fresh);
            let end = at + 1 + lines[at + 1..].iter().take_while(|line| !line.is_blank()).count();
            let encoded = is_encoded(&lines[at + 1..end]);
            state = if encoded { State::Enclosure } else { State::Text };
            (at, apart) = (end, false);
            continue;
        }
        if state == State::Enclosure {
            if builder.last() != Some(Role::Noise) {
                builder.add(line.start, Role::Noise, false);
            }
            at += 1;
            continue;
        }
        let named = attribution(&lines, at);
        if named.is_some() || is_quote(line.text) {
            let from = named.unwrap_or(at);
            let from = from + lines[from..].iter().take_while(|line| line.is_blank()).count();
            let run = lines[from..].iter().take_while(|line| is_quote(line.text)).count();
            let parts = quotation(&lines[from..from + run], &mut said);
            // A message continues after a quotation that only repeats other text.
            let within =
                builder.last().is_some() && state == State::Text && parts.iter().all(|(_, again)| *again);
            if named.is_some() {
                builder.add(line.start, if within { Role::Noise } else { Role::Label }, !within);
            }
            for (index, (start, again)) in parts.into_iter().enumerate() {
                let role = if again { Role::Noise } else { Role::Text };
                let fresh = index == 0 && named.is_none() && !within;
                // Consecutive noise needs no boundary.
                if fresh || !again || builder.last() != Some(Role::Noise) {
                    builder.add(start, role, fresh);
                }
            }
            (at, apart) = (from + run, false);
            state = if within { State::Text } else { State::Quote };
            continue;
        }
        let rule = line.text.len() >= 20 && line.text.trim_end().bytes().all(|b| b == b'_');
        if line.text == "-- " || line.text.trim_end() == "--" || rule {
            builder.add(line.start, Role::Noise, true);
            state = State::Signature;
        } else if !line.is_blank() && state != State::Signature {
            let fresh = state == State::Quote;
            if apart || fresh || builder.last() != Some(Role::Text) {
                builder.add(line.start, Role::Text, fresh || builder.last().is_none());
            }
            state = State::Text;
        }
        apart = line.is_blank();
        at += 1;
    }
    builder.blocks(text)
}

/// Adds the lines of a header; returns whether the message body is encoded.
fn naming(header: &[Line<'_>], builder: &mut Builder) -> bool {
    let mut role = None;
    for (index, line) in header.iter().enumerate() {
        let names = match field(line.text) {
            Some(name) if NAMING.contains(&name.as_str()) => Role::Label,
            Some(_) => Role::Noise,
            None if is_forward(line.text) => Role::Label,
            None if line.text.starts_with([' ', '\t']) => role.unwrap_or(Role::Noise),
            None => Role::Noise,
        };
        if index == 0 || role != Some(names) {
            builder.add(line.start, names, index == 0);
        }
        role = Some(names);
    }
    is_encoded(header)
}

/// Whether the header fields declare an encoded body.
fn is_encoded(header: &[Line<'_>]) -> bool {
    header.iter().any(|line| {
        let lower = line.text[..line.text.floor_char_boundary(100)].to_ascii_lowercase();
        lower.starts_with("content-transfer-encoding:") && lower.contains("base64")
    })
}

/// The multipart boundary that a line declares.
fn boundary(line: &str) -> Option<&str> {
    let at = line.find("boundary=").or_else(|| line.find("BOUNDARY="))? + "boundary=".len();
    let rest = &line[at..];
    let name = match rest.strip_prefix('"') {
        Some(rest) => rest.split('"').next(),
        None => rest.split([';', ' ']).next(),
    };
    name.map(str::trim).filter(|name| !name.is_empty())
}

/// The start of each paragraph of a quotation, and whether it repeats text from elsewhere.
fn quotation(quote: &[Line<'_>], said: &mut Said) -> Vec<(usize, bool)> {
    let bare = |line: &Line<'_>| line.text.trim_start_matches(['>', ' ', '|']).trim().is_empty();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < quote.len() {
        let words = quote[at..].iter().take_while(|line| !bare(line)).count();
        let blank = quote[at + words..].iter().take_while(|line| bare(line)).count();
        let again = words == 0 || said.again(quote[at..at + words].iter().map(|line| line.text));
        parts.push((quote[at].start, again));
        at += words + blank;
    }
    parts
}
