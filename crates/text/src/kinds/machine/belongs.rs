//! Joins lines to the first line of their error or failure: its location, the assertion, what the test
//! printed.

use std::collections::HashMap;

use super::{
    diagnostics::Class,
    frames::is_library,
    marks::{Line, Mark, Place, indent, leading_digits, line_suffix},
};
use crate::cut::{Content, Role};

/// How many lines above an assertion to search for its location.
const ABOVE: usize = 6;

/// How many lines above a location in a library to search for one in the program.
const FRAMES: usize = 60;

/// Maximum number of further lines of a message that stay with its first line.
const MESSAGE: usize = 8;

const CRITICAL: Mark = Mark { place: Place::Piece, content: Content::Log, role: Role::Critical };

/// Joins lines that mean nothing alone.
pub(super) fn join(lines: &[Line<'_>], classes: &[Option<Class>], marks: &mut [Mark]) {
    places(lines, classes, marks);
    assertions(lines, classes, marks);
    details(lines, classes, marks);
    verdicts(lines, classes, marks);
}

/// Joins the location below an error, and the marks below a line of code.
fn places(lines: &[Line<'_>], classes: &[Option<Class>], marks: &mut [Mark]) {
    for at in 1..lines.len() {
        let text = lines[at].look().trim();
        if classes[at].is_some() || marks[at].content != Content::Code || lines[at - 1].is_blank() {
            continue;
        }
        let signs = text.starts_with('|') || !text.is_empty() && text.bytes().all(|b| b"^~ ".contains(&b));
        if text.starts_with("--> ") || signs {
            marks[at].place = Place::Glue;
        }
    }
}

/// An assertion line printed by pytest.
fn is_asserted(line: &Line<'_>) -> bool {
    line.text.starts_with("E  ")
}

/// `shop/cart.py:15: in add`, or `shop/cart.py:15: ValueError`.
fn is_place(text: &str) -> bool {
    let Some((place, rest)) = text.split_once(' ') else { return false };
    let located = place.strip_suffix(':').is_some_and(|place| line_suffix(place).is_some());
    located && place.contains('.') && !rest.is_empty()
}

/// The closest location above a library's location that is outside any library.
fn nearest_program_location(lines: &[Line<'_>], classes: &[Option<Class>], below: usize) -> Option<usize> {
    let above = (below.saturating_sub(FRAMES)..below).rev();
    above
        .take_while(|above| classes[*above].is_none())
        .find(|above| is_place(lines[*above].look()) && !is_library(lines[*above].look()))
}

/// Joins an assertion with the location above it, and with the one below it.
fn assertions(lines: &[Line<'_>], classes: &[Option<Class>], marks: &mut [Mark]) {
    for at in (1..lines.len()).filter(|at| is_asserted(&lines[*at])) {
        if is_asserted(&lines[at - 1]) {
            // The values of the two sides are displayed like code.
            marks[at].content = Content::Code;
        } else {
            let above = (at.saturating_sub(ABOVE)..at).rev();
            let place = above
                .take_while(|above| !lines[*above].is_blank() && classes[*above].is_none())
                .take_while(|above| !is_asserted(&lines[*above]))
                .find(|above| is_place(lines[*above].look()));
            if let Some(place) = place {
                marks[place] = CRITICAL;
                if is_library(lines[place].look())
                    && let Some(own) = nearest_program_location(lines, classes, place)
                {
                    marks[own].role = Role::Critical;
                }
                for mark in &mut marks[place + 1..=at] {
                    mark.place = Place::Glue;
                }
            }
        }
        let below = (at + 1..lines.len()).find(|below| !lines[*below].is_blank());
        if let Some(below) = below.filter(|below| below - at <= 2 && is_place(lines[*below].look()))
            && !is_asserted(&lines[at - 1])
            && classes[below].is_none()
        {
            marks[below].place = Place::Glue;
        }
    }
}

/// Informative keys in TAP's details of a failure.
const TELLING: [&str; 8] = ["error", "message", "location", "at", "expected", "actual", "found", "wanted"];

/// Joins the details that TAP prints below a failure, between `---` and `...`.
fn details(lines: &[Line<'_>], classes: &[Option<Class>], marks: &mut [Mark]) {
    let mut at = 1;
    while at < lines.len() {
        let margin = indent(lines[at].text);
        let opens = lines[at].text.trim() == "---" && classes[at - 1] == Some(Class::Failure);
        at += 1;
        if !opens {
            continue;
        }
        marks[at - 1] = Mark { role: Role::Noise, ..CRITICAL };
        let (mut key, mut more) = ("", 0);
        while let Some(line) = lines.get(at).filter(|_| classes[at].is_none()) {
            let text = line.look();
            let inner = text.trim();
            if inner == "..." && indent(text) == margin {
                marks[at] = Mark { role: Role::Noise, ..CRITICAL };
                break;
            }
            let role = if line.is_blank() {
                at += 1;
                continue;
            } else if indent(text) <= margin {
                key = inner.split(':').next().unwrap_or_default();
                more = 0;
                match key {
                    "duration_ms" => Role::Noise,
                    key if TELLING.contains(&key) => Role::Critical,
                    _ => Role::Text,
                }
            } else {
                let frame = key == "stack" && !is_library(text);
                more += usize::from(key != "stack" || frame);
                match key {
                    "stack" if frame && more == 1 => Role::Critical,
                    "stack" => Role::Noise,
                    _ => Role::Text,
                }
            };
            let glued = TELLING.contains(&key) && (1..=MESSAGE).contains(&more);
            let content = if key == "stack" { Content::Code } else { Content::Log };
            marks[at] = Mark::new(if glued { Place::Glue } else { Place::Piece }, content, role);
            at += 1;
        }
    }
}

/// `--- FAIL: TestTotal (0.00s)`: whether the test failed, and its name.
fn verdict(text: &str) -> Option<(bool, &str)> {
    let (verdict, rest) = text.trim_start().strip_prefix("--- ")?.split_once(": ")?;
    let name = rest.split(' ').next().unwrap_or_default();
    ["FAIL", "PASS", "SKIP"].contains(&verdict).then_some((verdict == "FAIL", name))
}

/// `=== RUN   TestTotal`: the test whose output follows.
fn running(text: &str) -> Option<&str> {
    let (word, name) = text.trim_start().strip_prefix("=== ")?.split_once(' ')?;
    ["RUN", "CONT", "NAME", "PAUSE"].contains(&word).then_some(name.trim())
}

/// `    shop_test.go:3: Total(2) = 4, want 5`.
fn is_logged(text: &str) -> bool {
    let place = text.trim_start().split(' ').next().unwrap_or_default();
    let line = place.find(".go:").map_or("", |at| &place[at + 4..]);
    text.starts_with("    ") && leading_digits(line) > 0 && line.ends_with(':')
}

/// The output of Go tests: kept with the test's name if it failed, noise if it passed.
fn verdicts(lines: &[Line<'_>], classes: &[Option<Class>], marks: &mut [Mark]) {
    let mut failed: HashMap<&str, bool> = HashMap::new();
    for (fails, name) in lines.iter().filter_map(|line| verdict(line.look())) {
        *failed.entry(name).or_default() |= fails;
    }
    if failed.is_empty() {
        return;
    }
    let (mut name, mut passed) = ("", false);
    // The line above that the next one may join, and the indent of the current message.
    let (mut joins, mut message) = (None, None);
    let mut more = 0;
    for (at, line) in lines.iter().enumerate() {
        let text = line.look();
        if line.is_blank() {
            continue;
        }
        let above = joins.is_some_and(|above| above + 1 == at);
        if let Some(test) = running(text) {
            name = test;
            passed = failed.get(test) == Some(&false);
            (joins, message) = (Some(at), None);
        } else if let Some((fails, test)) = verdict(text) {
            if fails && test == name && above && message.is_some() {
                marks[at].place = Place::Glue;
            }
            (name, passed) = (test, !fails);
            (joins, message) = (Some(at), None);
        } else if is_logged(text) || message.is_some_and(|margin| indent(text) > margin) {
            let begins = is_logged(text) && message.is_none_or(|margin| indent(text) <= margin);
            more = if begins { 0 } else { more + 1 };
            if begins {
                message = Some(indent(text));
            }
            if passed {
                marks[at].role = Role::Noise;
            } else {
                let place = if above && more <= MESSAGE { Place::Glue } else { Place::Piece };
                let role = if more <= MESSAGE { Role::Critical } else { Role::Text };
                marks[at] = Mark { place, role, ..CRITICAL };
                if let Some(head) = joins.filter(|_| above && classes[at - 1].is_some() && begins) {
                    marks[head].role = Role::Critical;
                    if running(lines[head].look()).is_some() {
                        marks[head].place = Place::Block;
                    }
                }
            }
            joins = Some(at);
        } else {
            (joins, message) = (None, None);
            if passed && classes[at].is_none() {
                marks[at].role = Role::Noise;
            }
        }
    }
}
