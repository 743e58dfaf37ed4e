//! Terminal sessions: commands after their prompts, each with its output.

use super::json::Cut;
use crate::{
    cut::{Content, CutBlock, Piece, Role},
    lines::{Line, lines},
};

/// Minimum number of commands.
const COMMANDS: usize = 3;
/// Maximum bytes of a command that is a heading.
const COMMAND: usize = 400;
/// Maximum bytes of a prompt.
const PROMPT: usize = 120;
/// How many levels the headings in a command's output are lowered.
const BELOW: u8 = 2;

/// The blocks of a session; `None` if the text does not begin with a prompt or has too few similar ones.
/// `inner` splits the output of a command.
pub(super) fn cut(text: &str, inner: Cut<'_>) -> Option<Vec<CutBlock>> {
    let lines = lines(text);
    let first = lines.iter().find(|line| !line.is_blank())?;
    let like = prompt(first.text)?;
    let commands: Vec<&Line<'_>> = lines.iter().filter(|line| prompt(line.text) == Some(like)).collect();
    if commands.len() < COMMANDS {
        return None;
    }
    let mut blocks: Vec<CutBlock> = Vec::new();
    let mut start = 0;
    for (index, command) in commands.iter().enumerate() {
        let line_end = command.start + command.text.len();
        let end = commands.get(index + 1).map_or(text.len(), |next| next.start);
        let line_end =
            text.get(line_end..end).and_then(|rest| rest.find('\n')).map_or(end, |at| line_end + at + 1);
        let printed = line_end..end;
        let silent = text.get(printed.clone()).is_none_or(|printed| printed.trim().is_empty());
        if silent {
            blocks.push(line(start..end, Content::Line, Role::Text));
        } else {
            // A long command is not kept along with every part of its output.
            let (content, role) = if command.text.len() <= COMMAND {
                (Content::Heading, Role::Label)
            } else {
                (Content::Line, Role::Text)
            };
            blocks.push(line(start..line_end, content, role));
            blocks.extend(shifted(inner(&text[printed.clone()]).1, printed.start));
        }
        start = end;
    }
    Some(blocks)
}

fn line(range: std::ops::Range<usize>, content: Content, role: Role) -> CutBlock {
    let piece = Piece { range, content, role };
    CutBlock { pieces: vec![piece], content, level: 1, closes: false }
}

/// Moves the blocks of a command's output to `start` and below the command.
fn shifted(mut blocks: Vec<CutBlock>, start: usize) -> Vec<CutBlock> {
    for block in &mut blocks {
        for piece in &mut block.pieces {
            piece.range = piece.range.start + start..piece.range.end + start;
        }
        if std::mem::take(&mut block.closes) {
            // It would also govern the output of other commands.
            block.content = Content::Line;
            block
                .pieces
                .iter_mut()
                .for_each(|piece| (piece.content, piece.role) = (Content::Line, Role::Text));
        }
        if block.content == Content::Heading || block.level > 0 {
            block.level = block.level.saturating_add(BELOW);
        }
    }
    blocks
}

/// What identifies a prompt, if this line has one followed by a command: for `user@host:~$ ls` it is
/// `user@host` and the prompt sign, for `$ ls` only the sign.
fn prompt(text: &str) -> Option<(&str, char)> {
    let text = text.trim_end();
    if let Some(command) = text.strip_prefix("$ ") {
        return is_command(command).then_some(("", '$'));
    }
    if text.starts_with("PS ") && text.get(3..)?.contains(":\\") {
        return text.contains("> ").then_some(("PS", '>'));
    }
    let at = text.find(['$', '#', '%', '>']).filter(|at| *at > 0 && *at <= PROMPT)?;
    let (place, rest) = text.split_at(at);
    let sign = rest.chars().next()?;
    let command = rest[sign.len_utf8()..].strip_prefix(' ')?;
    // `[user@host dir]$`, `(env) user@host:dir$`.
    let name = place.rsplit_once(") ").map_or(place, |(_, name)| name).trim_start_matches('[');
    let (user, host) = name.split_once('@')?;
    let named =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    let host = host.split([':', ' ']).next()?;
    (named(user) && named(host) && !command.trim().is_empty())
        .then(|| (&name[..user.len() + 1 + host.len()], sign))
}

/// Whether the words after a bare sign are a command rather than a price or a sentence.
fn is_command(text: &str) -> bool {
    let name = text.split_whitespace().next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "./_-~+".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase() || "./~_".contains(c))
        && name.chars().all(plain)
        && !text.ends_with(['.', '!', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::Hint;

    #[test]
    fn commands_are_headings_of_their_output() {
        let text = "user@box:~$ ls -la\ntotal 8\n-rw-r--r-- 1 root root 12 Nov  1 10:00 a.txt\n-rw-r--r-- 1 root root 13 \
                    Nov  2 10:01 b.txt\nuser@box:~$ cd src\nuser@box:~/src$ cat notes\nThe harbour was rebuilt.\n";
        let blocks = cut(text, &|text| crate::kinds::cut(text, Hint::default())).expect("a session");
        let heads: Vec<&str> = blocks
            .iter()
            .filter(|block| block.pieces[0].role == Role::Label && block.level == 1)
            .map(|block| text[block.pieces[0].range.clone()].trim())
            .collect();
        assert_eq!(heads, ["user@box:~$ ls -la", "user@box:~/src$ cat notes"]);
        let mut at = 0;
        for piece in blocks.iter().flat_map(|block| &block.pieces) {
            assert_eq!(piece.range.start, at);
            at = piece.range.end;
        }
        assert_eq!(at, text.len());
    }

    #[test]
    fn prompts_are_recognised() {
        let sign = |text: &str| prompt(text).map(|(_, sign)| sign);
        for (text, wanted) in [
            ("$ make", Some('$')),
            ("[root@web1 ~]# systemctl status nginx", Some('#')),
            ("(venv) ann@laptop:~/shop$ pytest", Some('$')),
            ("ann@laptop ~ % ls", Some('%')),
            ("PS C:\\Users\\ann> dir", Some('>')),
            ("$", None),
            ("$ 1,200 rent", None),
            ("➜ The pension is 40 pounds a year.", None),
            ("The price is $ 5 and the address is ann@example.com, # 3", None),
            ("ann@example.com", None),
            ("# A heading", None),
        ] {
            assert_eq!(sign(text), wanted, "{text}");
        }
        assert!(cut("$ make\ncc a.c\n", &|_| unreachable!("no session")).is_none());
    }
}
