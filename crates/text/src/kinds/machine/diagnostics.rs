//! Recognises single lines in the output of compilers, builds and package managers.

use super::marks::{digits, leading_digits};

/// The class of a line in the output of a test or a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Progress, a passed test, a download, a command.
    Noise,
    /// A passed test with details below it.
    Passed,
    /// A closing summary.
    Summary,
    /// A failure without details.
    Failed,
    /// A failure with details below it.
    Failure,
    /// A compiler error, followed by the code.
    Error,
    /// A warning or a note, followed by the code.
    Warning,
    /// The location that the diagnostics below it refer to.
    Context,
    /// The title of a section with details.
    Banner,
    /// The title of a section without details.
    Title,
}

/// A class, and whether only such output has lines like this.
pub(super) type Classed = (Class, bool);

/// The class of a line from a compiler, a build or a package manager.
pub(super) fn classify(text: &str) -> Option<Classed> {
    let text = text.trim_end();
    compiler(text).or_else(|| build(text)).or_else(|| cargo(text)).or_else(|| packages(text))
}

fn severity(text: &str) -> Option<Class> {
    let text = text.trim_start();
    if ["error", "fatal error", "Error", "internal compiler error", "ERROR"]
        .iter()
        .any(|word| text.strip_prefix(word).is_some_and(|rest| rest.starts_with([':', '[', ' '])))
    {
        Some(Class::Error)
    } else if ["warning", "note", "info", "Warning", "remark"]
        .iter()
        .any(|word| text.strip_prefix(word).is_some_and(|rest| rest.starts_with([':', '[', ' '])))
    {
        Some(Class::Warning)
    } else {
        None
    }
}

/// The text after `path:12:5:`, `path:12:` or `path(12,5):`, and the path.
fn behind_place(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    while let Some(offset) = text.get(from..)?.find([':', '(']) {
        let at = from + offset;
        let rest = &text[at + 1..];
        let line = leading_digits(rest);
        let path = &text[..at];
        if line > 0 && !path.is_empty() && !path.contains("  ") && path.len() < 300 {
            let rest = &rest[line..];
            let column = rest.strip_prefix([':', ',']).map_or(0, leading_digits);
            let rest = if column > 0 { &rest[column + 1..] } else { rest };
            let rest = rest.strip_prefix(')').unwrap_or(rest);
            let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix(" -"));
            return rest.filter(|rest| rest.starts_with(' ')).map(|rest| (path, rest.trim_start()));
        }
        if at > 300 {
            return None;
        }
        from = at + 1;
    }
    None
}

fn compiler(text: &str) -> Option<Classed> {
    if text.is_empty() || text.starts_with(' ') && !text.trim_start().starts_with("from ") {
        return None;
    }
    if let Some((path, rest)) = behind_place(text) {
        let code = path.contains('.') && !path.contains(' ');
        if let Some(class) = severity(rest).filter(|_| code) {
            return Some((class, true));
        }
        if code && (rest.starts_with("required from") || rest.starts_with("recursively required")) {
            return Some((Class::Warning, false));
        }
        if path.ends_with(".go") && code && text[path.len() + 1..].contains(':') {
            let column = text[path.len() + 1..].split(':').nth(1).is_some_and(digits);
            return Some((Class::Error, column));
        }
    }
    let context = text.starts_with("In file included from ")
        || text.ends_with(':') && (text.contains(": In ") || text.contains(": At "))
        || text.trim_start().starts_with("from ") && text.ends_with([',', ':'])
        || text.ends_with(':') && text.contains(": In instantiation of ");
    if context {
        return Some((Class::Context, false));
    }
    let linker = text.contains("undefined reference to ")
        || text.starts_with("collect2: error")
        || text.contains("ld: cannot find");
    if linker {
        return Some((Class::Failed, true));
    }
    let (count, rest) = text.split_once(' ')?;
    let counted = digits(count)
        && ["error", "errors", "warning", "warnings"].iter().any(|word| {
            rest == *word
                || rest
                    .strip_prefix(word)
                    .is_some_and(|rest| rest.starts_with(" generated") || rest.starts_with(" and "))
        });
    let found = text.starts_with("Found ") && (text.contains(" error in ") || text.contains(" errors in "));
    (counted || found).then_some((Class::Summary, found))
}

/// Programs that builds invoke.
const COMMANDS: [&str; 22] = [
    "gcc ",
    "g++ ",
    "cc ",
    "c++ ",
    "clang ",
    "clang++ ",
    "ar ",
    "ranlib ",
    "ld ",
    "rm -",
    "mkdir -",
    "cp ",
    "mv ",
    "install -",
    "libtool: ",
    "javac ",
    "rustc ",
    "go build",
    "ln -",
    "/usr/bin/",
    "echo ",
    "cd ",
];

fn build(text: &str) -> Option<Classed> {
    let make = text.strip_prefix("make").or_else(|| text.strip_prefix("gmake"));
    if let Some((level, rest)) = make.and_then(|rest| rest.split_once(": "))
        && (level.is_empty() || level.starts_with('['))
    {
        let class = if rest.starts_with("***") || rest.starts_with("Target ") {
            Class::Summary
        } else {
            Class::Noise
        };
        return Some((class, true));
    }
    if COMMANDS.iter().any(|command| text.starts_with(command)) && text.contains(" -") {
        return Some((Class::Noise, false));
    }
    if let Some(rest) = text.strip_prefix('[').map(str::trim_start) {
        let number = leading_digits(rest);
        if number > 0 && rest[number..].starts_with("%] ") {
            return Some((Class::Noise, true));
        }
        if number > 0 && rest[number..].starts_with('/') && text.contains("] ") {
            return Some((Class::Noise, false));
        }
    }
    if text.starts_with("CMake Error") {
        return Some((Class::Error, true));
    }
    if text.starts_with("CMake Warning") || text.starts_with("CMake Deprecation") {
        return Some((Class::Warning, true));
    }
    if text.starts_with("-- Configuring incomplete") {
        return Some((Class::Summary, true));
    }
    let step =
        text.starts_with("-- ") || text.starts_with("# ") && text.contains('/') && !text.contains("  ");
    if step && !text.ends_with('.') {
        return Some((Class::Noise, false));
    }
    maven(text)
}

fn maven(text: &str) -> Option<Classed> {
    let (level, rest) = text.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    if rest.starts_with("BUILD ") || rest.starts_with("Tests run:") || rest.starts_with("Reactor Summary") {
        return Some((Class::Summary, true));
    }
    match level {
        "ERROR"
            if rest.is_empty()
                || rest.starts_with("->")
                || rest.contains("[Help 1]")
                || rest.contains(" switch") =>
        {
            Some((Class::Noise, false))
        }
        "ERROR" => Some((Class::Failure, false)),
        "WARNING" => Some((Class::Warning, false)),
        "INFO" | "DEBUG" => Some((Class::Noise, false)),
        _ => None,
    }
}

/// Verbs of cargo's progress messages.
const VERBS: [&str; 25] = [
    "Compiling",
    "Checking",
    "Finished",
    "Running",
    "Doc-tests",
    "Downloading",
    "Downloaded",
    "Updating",
    "Locking",
    "Adding",
    "Blocking",
    "Fresh",
    "Dirty",
    "Building",
    "Documenting",
    "Generated",
    "Packaging",
    "Installing",
    "Installed",
    "Removing",
    "Unpacking",
    "Executable",
    "Archiving",
    "Creating",
    "Replacing",
];

fn cargo(text: &str) -> Option<Classed> {
    let inner = text.trim_start();
    let indent = text.len() - inner.len();
    let (word, rest) = inner.split_once(' ').unwrap_or((inner, ""));
    if VERBS.contains(&word) && indent > 0 && indent + word.len() == 12 {
        let strong = ["Compiling", "Checking", "Finished", "Doc-tests"].contains(&word);
        return Some((Class::Noise, strong && !rest.is_empty()));
    }
    if indent > 0 {
        return None;
    }
    if text.starts_with("error: could not compile")
        || text.starts_with("error: test failed")
        || text.starts_with("error: aborting due to")
        || text.contains(" test target failed")
    {
        return Some((Class::Summary, true));
    }
    if text.starts_with("For more information about")
        || text.starts_with("Some errors have detailed")
        || text.starts_with("warning: build failed, waiting")
    {
        return Some((Class::Noise, true));
    }
    if text.starts_with("error[E") {
        return Some((Class::Error, true));
    }
    if text.starts_with("error: ") {
        return Some((Class::Error, false));
    }
    if text.starts_with("warning: ") || text.starts_with("warning[") {
        return Some((Class::Warning, false));
    }
    None
}

fn packages(text: &str) -> Option<Classed> {
    let inner = text.trim_start();
    if let Some(rest) = text.strip_prefix("npm ") {
        return Some(match rest.split(' ').next() {
            Some("ERR!" | "error") => (Class::Failed, true),
            Some("WARN" | "warn") => (Class::Warning, true),
            _ => (Class::Noise, false),
        });
    }
    let npm = ["added ", "up to date", "changed ", "removed "].iter().any(|start| text.starts_with(start))
        && text.contains("package");
    if npm
        || text.starts_with("found ") && text.ends_with("vulnerabilities")
        || text.starts_with("Successfully installed ")
    {
        return Some((Class::Summary, true));
    }
    if text.starts_with("ERROR: ")
        && (text.contains("equirement")
            || text.contains("pip")
            || text.contains("distribution")
            || text.contains("wheel")
            || text.contains("install"))
    {
        return Some((Class::Failed, true));
    }
    let sure = ["Requirement already satisfied: ", "Installing collected packages: ", "Obtaining file://"];
    if sure.iter().any(|start| inner.starts_with(start)) {
        return Some((Class::Noise, true));
    }
    let step = [
        "Collecting ",
        "Downloading ",
        "Using cached ",
        "Building wheel",
        "Preparing metadata",
        "Created wheel",
        "Stored in directory",
        "Installing build dependencies",
        "Getting requirements",
        "Attempting uninstall",
        "Found existing installation",
        "Uninstalling ",
        "Successfully uninstalled",
        "Looking in ",
    ];
    let bar = inner.starts_with('━') || inner.starts_with("|████") || inner.contains("━━━");
    (step.iter().any(|start| inner.starts_with(start)) && !text.ends_with('.') || bar)
        .then_some((Class::Noise, bar))
}
