//! The output of tests and builds: failures with their assertions, errors of compilers, closing summaries.

use super::{
    diagnostics::{self, Class, Classed},
    frames::is_exception,
    marks::{Line, Mark, Place, assemble, digits, leading_digits, line_suffix, lines, mostly, share},
    trace::traces,
};
use crate::text::cut::{Content, CutBlock, Hint, Role};

/// Percent of the bytes that have to be told apart.
const SHARE: usize = 80;

/// Lines of one failure that are kept before all else.
const CRITICAL: usize = 14;

/// Lines of code under an error that are kept with it.
const EXCERPT: usize = 8;

/// Whether the text is the output of tests or of a build.
pub fn detect(text: &str, _: &Hint<'_>) -> bool {
    let lines = lines(text);
    if lines.iter().any(|line| line.text.trim_start().starts_with("```")) {
        return false;
    }
    let strong = lines.iter().any(|line| classify(line.look()).is_some_and(|(_, strong)| strong));
    if !strong {
        return false;
    }
    let told = walk(&lines);
    let (bytes, whole) = share(&lines, |at, _| told[at].told);
    mostly(bytes, whole, SHARE)
}

/// Cuts the output: a block for each failure and each diagnostic, a piece for each line.
pub fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let told = walk(&lines);
    let mut marks: Vec<Mark> = told.iter().map(|told| told.mark).collect();
    for trace in traces(&lines) {
        let inside = told[trace.lines.start].inside;
        for (at, mark) in trace.lines.clone().zip(&trace.marks) {
            if told[at].class.is_none() {
                let place = if inside && mark.place == Place::Block { Place::Piece } else { mark.place };
                marks[at] = Mark { place, ..*mark };
            }
        }
    }
    assemble(text, &lines, &marks)
}

struct Told {
    mark: Mark,
    class: Option<Class>,
    /// Whether it was known for what it is, or stands where such lines stand.
    told: bool,
    /// Whether it stands below the line that opened its block.
    inside: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    /// Below a passed test.
    Quiet,
    /// In the details of a failure.
    Details,
    /// Below an error or a warning of a compiler.
    Below(Class),
}

/// Says of each line what it is.
fn walk(lines: &[Line<'_>]) -> Vec<Told> {
    let mut state = State::Plain;
    let mut told: Vec<Told> = Vec::with_capacity(lines.len());
    let (mut critical, mut after_blank, mut helped) = (0, false, false);
    let mut last_class = None;
    for line in lines {
        let text = line.look();
        if line.is_blank() {
            after_blank = true;
            let mark = Mark::new(Place::Glue, Content::Log, Role::Text);
            told.push(Told { mark, class: None, told: true, inside: true });
            continue;
        }
        if let State::Below(_) = state
            && after_blank
            && !text.starts_with(|c: char| c.is_whitespace() || c.is_ascii_digit())
        {
            state = State::Plain;
        }
        if state == State::Quiet && !text.starts_with(' ') {
            state = State::Plain;
        }
        let class = classify(text).map(|(class, _)| class).filter(|class| {
            // An indented line in the details of a failure is what the program printed.
            let printed = state == State::Details && *class == Class::Failed && text.starts_with(' ');
            state != State::Quiet
                && !printed
                && !(matches!(state, State::Below(_)) && *class == Class::Noise && text.starts_with(' '))
        });
        let was = state;
        let (place, role) = match class {
            Some(class) => {
                (critical, helped) = (0, false);
                state = match class {
                    Class::Passed => State::Quiet,
                    Class::Failure | Class::Banner => State::Details,
                    Class::Error | Class::Warning => State::Below(class),
                    _ => State::Plain,
                };
                marked(class, last_class, was)
            }
            None => match state {
                State::Plain => {
                    let opens = last_class.is_some();
                    (if opens { Place::Block } else { Place::Piece }, Role::Text)
                }
                State::Quiet => (Place::Glue, Role::Noise),
                State::Details if is_telling(text) && critical < CRITICAL => {
                    critical += 1;
                    (Place::Piece, Role::Critical)
                }
                State::Details => (Place::Piece, Role::Text),
                State::Below(class) => {
                    helped = helped || is_help(text);
                    let near = class == Class::Error && !helped && critical < EXCERPT;
                    critical += 1;
                    (Place::Piece, if near { Role::Critical } else { Role::Text })
                }
            },
        };
        let known = class.is_some() || state != State::Plain;
        let content = if matches!(state, State::Below(_)) { Content::Code } else { Content::Log };
        let content = if class.is_some() { Content::Log } else { content };
        told.push(Told {
            mark: Mark::new(place, content, role),
            class,
            told: known,
            inside: state != State::Plain,
        });
        last_class = class.or(if state == State::Plain { None } else { last_class });
        after_blank = false;
    }
    told
}

fn marked(class: Class, last: Option<Class>, was: State) -> (Place, Role) {
    let again = last == Some(class);
    let run = if again && was == State::Plain { Place::Piece } else { Place::Block };
    match class {
        Class::Noise => (run, Role::Noise),
        Class::Passed if again => (Place::Piece, Role::Noise),
        Class::Passed => (Place::Block, Role::Noise),
        Class::Summary => (run, Role::Outline),
        Class::Failed => (run, Role::Critical),
        Class::Failure => (Place::Block, Role::Critical),
        Class::Error if last == Some(Class::Context) => (Place::Piece, Role::Critical),
        Class::Error => (Place::Block, Role::Critical),
        Class::Warning if last == Some(Class::Context) => (Place::Piece, Role::Text),
        Class::Context => (run, Role::Text),
        Class::Warning | Class::Banner | Class::Title => (Place::Block, Role::Text),
    }
}

/// What a compiler adds to an error.
fn is_help(text: &str) -> bool {
    let text = text.trim_start();
    ["= note", "= help", "help:", "note:", "= "].iter().any(|start| text.starts_with(start))
}

/// A line of a failure that says what failed and where.
fn is_telling(text: &str) -> bool {
    let inner = text.trim_start();
    if text.starts_with("E  ")
        || text.starts_with('>')
        || is_exception(inner) && !inner.starts_with("Error (")
    {
        return true;
    }
    let place = inner.split(' ').next().unwrap_or_default();
    let located = line_suffix(place.trim_end_matches(':')).is_some() && place.contains('.');
    if located && (!text.starts_with(' ') || place.ends_with(':')) {
        let behind = inner[place.len()..].trim();
        return !behind.starts_with("in ") && !behind.is_empty();
    }
    let code = inner.strip_prefix("> ").is_some_and(|rest| leading_digits(rest) > 0 && rest.contains(" |"));
    let words = [
        "Expected",
        "Received",
        "expected:",
        "actual:",
        "left:",
        "right:",
        "error:",
        "assert",
        "expect(",
        "location:",
        "thread '",
        "Assertion",
        "+ actual",
        "FAIL: ",
        "ERROR: ",
        "- Expected",
        "+ Received",
        "test at ",
        "panic: ",
    ];
    code || words.iter().any(|word| inner.starts_with(word)) || text.starts_with("|") && inner.contains("^^")
}

/// The class of a line.
fn classify(text: &str) -> Option<Classed> {
    let text = text.trim_end();
    python(text)
        .or_else(|| rust(text))
        .or_else(|| go(text))
        .or_else(|| script(text))
        .or_else(|| ctest(text))
        .or_else(|| diagnostics::classify(text))
}

/// pytest and unittest.
fn python(text: &str) -> Option<Classed> {
    if text.starts_with("===") && text.ends_with('=') {
        let title = text.trim_matches('=').trim();
        let counted = title.starts_with(|c: char| c.is_ascii_digit()) || title.starts_with("no tests ran");
        return Some(match title {
            "" => (Class::Noise, false),
            "test session starts" => (Class::Noise, true),
            "short test summary info" => (Class::Title, true),
            "warnings summary" => (Class::Warning, true),
            "FAILURES" | "ERRORS" => (Class::Banner, true),
            _ if counted && title.contains(" in ") => (Class::Summary, true),
            _ => (Class::Banner, false),
        });
    }
    let named = text.trim_matches('_').trim();
    if text.starts_with("___") && text.ends_with('_') && !named.is_empty() {
        return Some((Class::Failure, false));
    }
    let counted =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with('s') && text.contains(" in ");
    if counted && [" passed", " failed", " error"].iter().any(|word| text.contains(word)) {
        return Some((Class::Summary, true));
    }
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match first {
        "FAILED" if rest.starts_with('(') => return Some((Class::Summary, false)),
        "FAILED" | "ERROR" if rest.contains("::") || rest.contains(".py") => {
            return Some((Class::Failed, false));
        }
        "PASSED" | "SKIPPED" | "XFAIL" | "XPASS" if rest.contains("::") || rest.starts_with('[') => {
            return Some((Class::Noise, false));
        }
        "FAIL:" | "ERROR:" if rest.ends_with(')') => return Some((Class::Failure, false)),
        "Ran" if rest.contains(" test") && rest.contains(" in ") => return Some((Class::Summary, true)),
        "OK" if rest.is_empty() || rest.starts_with('(') => return Some((Class::Summary, false)),
        "platform" if rest.contains(" -- Python") => return Some((Class::Noise, true)),
        "rootdir:" | "plugins:" | "cachedir:" | "configfile:" | "testpaths:" | "collecting" | "collected"
        | "asyncio:" => {
            return Some((Class::Noise, false));
        }
        _ => {}
    }
    if first.contains("::") || first.contains(".py") || text.contains(") ... ") {
        let verdict = rest.rsplit("... ").next().unwrap_or(rest).trim_start();
        let begins = |words: &[&str]| words.iter().any(|word| verdict.starts_with(word));
        if begins(&["PASSED", "SKIPPED", "XFAIL", "ok", "skipped", "XPASS", "expected failure"]) {
            return Some((Class::Noise, false));
        }
        if begins(&["FAILED", "ERROR", "FAIL"]) {
            return Some((Class::Failed, false));
        }
    }
    let dots = rest_of_dots(if first.ends_with(".py") { rest } else { text });
    dots.then_some((Class::Noise, false))
}

/// Signs of tests that ran, and how far they are.
fn rest_of_dots(text: &str) -> bool {
    let (dots, percent) = text.split_once('[').unwrap_or((text, ""));
    let dots = dots.trim();
    let signs = !dots.is_empty() && dots.bytes().all(|b| b".FEsxXup".contains(&b));
    signs && (percent.ends_with("%]") || percent.is_empty() && dots.len() >= 5 && dots.contains(".."))
}

/// cargo test and nextest.
fn rust(text: &str) -> Option<Classed> {
    if let Some(rest) = text.strip_prefix("test ") {
        if rest.starts_with("result: ") {
            return Some((Class::Summary, true));
        }
        let (_, verdict) = rest.rsplit_once(" ... ")?;
        let failed = verdict.starts_with("FAILED");
        return Some((if failed { Class::Failed } else { Class::Noise }, true));
    }
    if text.strip_prefix("running ").is_some_and(|rest| rest.ends_with(" tests") || rest.ends_with(" test")) {
        return Some((Class::Noise, true));
    }
    if text.starts_with("---- ") && text.ends_with(" ----") {
        return Some((Class::Failure, true));
    }
    if text == "failures:" || text == "successes:" {
        return Some((Class::Banner, true));
    }
    let inner = text.trim_start();
    let (word, rest) = inner.split_once(" [")?;
    let timed = rest.split_once(']').is_some_and(|(time, _)| time.ends_with('s'));
    match word {
        "PASS" | "SKIP" | "SLOW" if timed => Some((Class::Noise, true)),
        "FAIL" | "SIGABRT" | "SIGSEGV" | "TIMEOUT" | "LEAK" if timed => Some((Class::Failed, true)),
        "Summary" if timed => Some((Class::Summary, true)),
        _ => None,
    }
}

/// go test.
fn go(text: &str) -> Option<Classed> {
    let inner = text.trim_start();
    if inner.starts_with("=== RUN ")
        || inner.starts_with("=== PAUSE ")
        || inner.starts_with("=== CONT ")
        || inner.starts_with("=== NAME ")
    {
        return Some((Class::Noise, true));
    }
    if inner.starts_with("--- PASS: ") || inner.starts_with("--- SKIP: ") {
        return Some((Class::Noise, true));
    }
    if inner.starts_with("--- FAIL: ") {
        return Some((Class::Failure, true));
    }
    let mut words = text.split('\t');
    match words.next().map(str::trim_end) {
        Some("ok" | "?") if words.next().is_some() => Some((Class::Noise, true)),
        Some("FAIL") if words.next().is_some() => Some((Class::Summary, true)),
        Some("FAIL" | "PASS") => Some((Class::Summary, false)),
        _ => {
            let place = inner.split(' ').next().unwrap_or_default();
            let logged = text.starts_with("    ") && place.ends_with(':') && place.contains("_test.go:");
            logged.then_some((Class::Failed, false))
        }
    }
}

/// jest, vitest, node --test and other runners that print signs, or TAP.
fn script(text: &str) -> Option<Classed> {
    let inner = text.trim_start();
    let first = inner.chars().next()?;
    match first {
        '✓' | '✔' => return Some((Class::Noise, true)),
        '○' | '﹣' | '↓' => return Some((Class::Noise, false)),
        '✕' | '✖' | '✗' | '×' | '●' => return Some((Class::Failure, true)),
        'ℹ' => return Some((Class::Summary, true)),
        '▶' | '❯' => return Some((Class::Title, false)),
        _ => {}
    }
    let (word, rest) = inner.split_once(' ').unwrap_or((inner, ""));
    let path = || {
        rest.split(' ').any(|word| word.contains(".test.") || word.contains(".spec.") || word.contains("/"))
    };
    match word {
        "PASS" if path() => Some((Class::Noise, true)),
        "FAIL" if path() => Some((Class::Failure, true)),
        "Tests:" | "Snapshots:" | "Time:" => Some((Class::Summary, rest.contains("total"))),
        "Test" if rest.starts_with("Suites:") || rest.starts_with("Files ") => Some((Class::Summary, true)),
        "Tests" if rest.contains("passed") || rest.contains("failed") => {
            Some((Class::Summary, rest.contains('(')))
        }
        "Ran" if rest.starts_with("all test suites") => Some((Class::Noise, true)),
        "TAP" if rest.starts_with("version") => Some((Class::Noise, true)),
        "ok" if leading_digits(rest) > 0 && rest.contains(" - ") => Some((Class::Passed, true)),
        "not" if rest.starts_with("ok ") => Some((Class::Failure, true)),
        "#" if rest.starts_with("Subtest") => Some((Class::Noise, true)),
        "#" if is_tap_count(rest) => Some((Class::Summary, false)),
        _ => inner.strip_prefix("1..").is_some_and(digits).then_some((Class::Noise, false)),
    }
}

fn is_tap_count(text: &str) -> bool {
    let Some((name, count)) = text.split_once(' ') else { return false };
    let names = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo", "duration_ms"];
    names.contains(&name) && count.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// ctest.
fn ctest(text: &str) -> Option<Classed> {
    if text.contains("% tests passed") || text.starts_with("Total Test time") {
        return Some((Class::Summary, true));
    }
    if text.starts_with("The following tests FAILED") {
        return Some((Class::Banner, true));
    }
    let inner = text.trim_start();
    let number = leading_digits(inner);
    if number > 0 && inner[number..].starts_with('/') && inner.contains(" Test ") && inner.contains('#') {
        return Some((if inner.contains(" Passed ") { Class::Noise } else { Class::Failed }, true));
    }
    if number > 0
        && inner[number..].starts_with(" - ")
        && (inner.ends_with("(Failed)") || inner.ends_with("(Timeout)"))
    {
        return Some((Class::Failed, true));
    }
    let start = inner
        .strip_prefix("Start ")
        .is_some_and(|rest| leading_digits(rest.trim_start()) > 0 && rest.contains(": "));
    (start && text.starts_with(' ') || text.starts_with("Test project ")).then_some((Class::Noise, false))
}
