//! The output of tests and builds: failures with their assertions, compiler errors, closing summaries.

use super::{
    belongs,
    diagnostics::Class,
    frames::is_exception,
    marks::{Line, Mark, Place, assemble, indent, leading_digits, line_suffix, lines, mostly, share},
    runners::classify,
    trace::traces,
};
use crate::cut::{Content, CutBlock, Hint, Role};

/// Minimum percentage of the bytes in recognised lines.
const SHARE: usize = 80;

/// Percentage of lines recognised as a test runner's from which all others are assumed to be printed by its
/// tests.
const RUNNER: usize = 40;

/// Maximum lines of a failure that are critical.
const CRITICAL: usize = 14;

/// Maximum lines of code under an error that are kept with it.
const EXCERPT: usize = 8;

/// Whether the text is the output of tests or of a build.
pub(super) fn detect(text: &str, _: &Hint<'_>) -> bool {
    let lines = lines(text);
    if lines.iter().any(|line| line.text.trim_start().starts_with("```")) {
        return false;
    }
    let is_strong = |line: &&Line<'_>| classify(line.look()).is_some_and(|(_, strong)| strong);
    if !lines.iter().any(|line| is_strong(&line)) {
        return false;
    }
    // Test output appears between a test's name and its verdict. A mark in front of a line is not yet a
    // verdict.
    let verdicts = lines
        .iter()
        .filter(is_strong)
        .filter(|line| line.look().trim_start().starts_with(|c: char| c.is_ascii()));
    if mostly(verdicts.count(), lines.iter().filter(|line| !line.is_blank()).count(), RUNNER) {
        return true;
    }
    let told = walk(&lines);
    let (bytes, whole) = share(&lines, |at, _| told[at].told);
    mostly(bytes, whole, SHARE)
}

/// Splits the output: a block for each failure and each diagnostic, a piece for each line.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let told = walk(&lines);
    let mut marks: Vec<Mark> = told.iter().map(|told| told.mark).collect();
    let classes: Vec<Option<Class>> = told.iter().map(|told| told.class).collect();
    for trace in traces(&lines) {
        let inside = told[trace.lines.start].inside;
        for (at, mark) in trace.lines.clone().zip(&trace.marks) {
            if told[at].class.is_none() && !shows_code(lines[at].look()) {
                let apart = mark.place == Place::Block && inside
                    || mark.place == Place::Glue && at > 0 && classes[at - 1].is_some();
                marks[at] = Mark { place: if apart { Place::Piece } else { mark.place }, ..*mark };
            }
        }
    }
    belongs::join(&lines, &classes, &mut marks);
    assemble(text, &lines, &marks)
}

struct Told {
    mark: Mark,
    class: Option<Class>,
    /// Whether the line was recognised, or is in a place where such lines belong.
    told: bool,
    /// Whether it is below the line that opened its block.
    inside: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    /// Below a passed test with this indent.
    Quiet(usize),
    /// Inside the details of a failure.
    Details,
    /// Below a compiler error or warning.
    Below(Class),
}

/// Classifies each line.
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
        if let State::Quiet(passed) = state
            && indent(text) <= passed
        {
            state = State::Plain;
        }
        let class = classify(text).map(|(class, _)| class).filter(|class| {
            // An indented line in the details of a failure was printed by the program.
            let printed = state == State::Details && *class == Class::Failed && text.starts_with(' ');
            let shown = matches!(state, State::Below(_)) && *class == Class::Noise && text.starts_with(' ');
            !(matches!(state, State::Quiet(_)) || printed || shown)
        });
        let was = state;
        let (place, role) = match class {
            Some(class) => {
                (critical, helped) = (0, false);
                state = match class {
                    Class::Passed => State::Quiet(indent(text)),
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
                State::Quiet(_) => (Place::Glue, Role::Noise),
                State::Details if is_informative(text) && critical < CRITICAL => {
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
        let shown = matches!(state, State::Below(_)) || state == State::Details && shows_code(text);
        let content = if shown { Content::Code } else { Content::Log };
        let content = match class {
            Some(Class::Failed) => Content::Line,
            Some(_) => Content::Log,
            None => content,
        };
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

/// A line of a failure that shows the code: `>   assert a == b`, `> 4 | expect(a).toBe(b)`, `5 | });`, or the
/// marks below it.
fn shows_code(text: &str) -> bool {
    let inner = text.trim_start();
    let numbered = &inner[leading_digits(inner)..];
    text.starts_with('>')
        || inner.starts_with("> ")
        || inner.starts_with('|')
        || numbered.len() < inner.len() && numbered.starts_with(" |")
}

/// A hint that a compiler adds to an error.
fn is_help(text: &str) -> bool {
    let text = text.trim_start();
    ["= note", "= help", "help:", "note:", "= "].iter().any(|start| text.starts_with(start))
}

/// A line of a failure that says what failed and where.
fn is_informative(text: &str) -> bool {
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
