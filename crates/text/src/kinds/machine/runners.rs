//! Recognises single lines in the output of test runners.

use super::{
    diagnostics::{self, Class, Classed},
    marks::{digits, leading_digits},
};

/// The class of a line from a test runner, a compiler, a build or a package manager.
pub(super) fn classify(text: &str) -> Option<Classed> {
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

/// Progress marks of tests, followed by a percentage.
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

/// jest, vitest, node --test and other runners that print check marks, or TAP.
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
