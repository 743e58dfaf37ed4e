//! Determines the file that a text comes from, based on the tool call that returned it.

use crate::cut::Hint;

/// Argument names that tools use for the path of a file.
const PATHS: [&str; 9] = [
    "path",
    "file_path",
    "filename",
    "filepath",
    "filePath",
    "file",
    "target_file",
    "absolute_path",
    "relative_workspace_path",
];
/// Argument names that tools use for a command.
const COMMANDS: [&str; 3] = ["command", "cmd", "script"];
/// Programs that print a file or a part of it unchanged.
const PRINTERS: [&str; 9] = ["cat", "head", "tail", "sed", "nl", "bat", "batcat", "less", "more"];

/// The path of the file that the text was read from.
pub fn file(hint: &Hint<'_>) -> Option<String> {
    if let Some(file) = hint.file {
        return Some(file.to_owned());
    }
    let (_, arguments) = hint.call?;
    let arguments: serde_json::Value = serde_json::from_str(arguments).ok()?;
    let named = |names: &[&str]| names.iter().find_map(|name| arguments.get(name));
    if let Some(path) = named(&PATHS).and_then(|value| value.as_str()) {
        return Some(path.to_owned());
    }
    let command = match named(&COMMANDS)? {
        serde_json::Value::String(command) => command.clone(),
        serde_json::Value::Array(words) => {
            // `["bash", "-lc", "cat a.rs"]`
            let words: Vec<&str> = words.iter().filter_map(|word| word.as_str()).collect();
            match words.as_slice() {
                ["bash" | "sh" | "zsh", "-c" | "-lc", command] => (*command).to_owned(),
                words => words.join(" "),
            }
        }
        _ => return None,
    };
    printed(&command).map(str::to_owned)
}

/// The only file that a command prints.
fn printed(command: &str) -> Option<&str> {
    let commands = command.split(['\n', ';']).flat_map(|part| part.split("&&"));
    let mut rest = commands.map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("cd "));
    let (command, None) = (rest.next()?, rest.next()) else { return None };
    let mut stages = command.split('|').map(str::trim);
    let first = stages.next()?;
    let program = |stage: &str| {
        let word = stage.split_whitespace().next().unwrap_or_default();
        let name = word.rsplit('/').next().unwrap_or_default();
        PRINTERS.contains(&name)
    };
    if first.contains('>') || !stages.all(program) {
        return None;
    }
    let words: Vec<&str> = first.split_whitespace().collect();
    let shown = words.len() > 2 && words[0] == "git" && words[1] == "show";
    if shown {
        let (_, path) = words.last()?.trim_matches(['"', '\'']).split_once(':')?;
        return Some(path);
    }
    if !program(first) {
        return None;
    }
    let named = |word: &&str| !word.starts_with('-') && word.contains('.');
    let mut files = words[1..].iter().map(|word| word.trim_matches(['"', '\''])).filter(named);
    match (files.next(), files.next()) {
        (Some(file), None) => Some(file),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_calls() {
        for (arguments, expected) in [
            (r#"{"path":"/a/b.rs"}"#, Some("/a/b.rs")),
            (r#"{"file_path":"b.py","offset":3}"#, Some("b.py")),
            (r#"{"command":"cat src/a.rs"}"#, Some("src/a.rs")),
            (r#"{"command":"cd /x && sed -n '1,80p' src/a.rs"}"#, Some("src/a.rs")),
            (r#"{"command":"nl -ba \"a.go\" | head -50"}"#, Some("a.go")),
            (r#"{"command":["bash","-lc","cat a.c"]}"#, Some("a.c")),
            (r#"{"command":"git show HEAD~1:src/a.rs"}"#, Some("src/a.rs")),
            (r#"{"command":"cat a.rs b.rs"}"#, None),
            (r#"{"command":"cat a.rs; cat b.rs"}"#, None),
            (r#"{"command":"cat a.rs | grep fn"}"#, None),
            (r#"{"command":"python a.py"}"#, None),
            (r#"{"command":"git diff a.rs"}"#, None),
            (r#"{"command":""}"#, None),
            (r#"{"command":7}"#, None),
            ("[1]", None),
            ("not JSON", None),
        ] {
            let hint = Hint { call: Some(("tool", arguments)), ..Hint::default() };
            assert_eq!(file(&hint).as_deref(), expected, "{arguments}");
        }
    }
}
