//! Recognises single lines of stack traces.

use super::marks::{digits, leading_digits, line_suffix};

/// A frame of Java, JavaScript or C#: `at` and the location.
pub(super) fn is_at_frame(text: &str) -> bool {
    let Some(place) = text.trim().strip_prefix("at ") else { return false };
    let place = place.trim_end_matches([' ', '{', ',', '[']);
    if place.len() > 500 || place.is_empty() {
        return false;
    }
    if line_suffix(place).is_some() || place.rsplit_once(":line ").is_some_and(|(_, line)| digits(line)) {
        return true;
    }
    let place =
        place.strip_suffix(']').and_then(|rest| rest.rsplit_once(" [")).map_or(place, |(rest, _)| rest);
    let Some((name, source)) = place.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) else {
        return false;
    };
    let known = ["Native Method", "Unknown Source", "<anonymous>", "native"].contains(&source)
        || source.starts_with("index ");
    let dotted = name.contains('.') && !name.contains(' ');
    known || line_suffix(source).is_some() || dotted && !source.ends_with('.')
}

/// `... 12 more`, `... 6 lines matching cause stack trace ...`, `[Previous line repeated 9 more times]`.
pub(super) fn is_elision(text: &str) -> bool {
    let text = text.trim();
    let count = text.strip_prefix("... ").is_some_and(|rest| leading_digits(rest) > 0);
    count || text.starts_with("[Previous line repeated") || text.starts_with("...additional frames elided")
}

/// Phrases that introduce the cause of an exception.
const CAUSES: [&str; 10] = [
    "Caused by: ",
    "Suppressed: ",
    "[cause]: ",
    "Wrapped by: ",
    "---> ",
    "Uncaught ",
    "Unhandled exception. ",
    "Exception in thread ",
    "[errors]: ",
    "[CIRCULAR REFERENCE: ",
];

/// Whether the line states the cause of the exception above it.
pub(super) fn is_cause(text: &str) -> bool {
    let text = text.trim_start();
    CAUSES.iter().any(|cause| text.starts_with(cause))
}

/// A line that begins with the type of an exception, or with its cause.
pub(super) fn is_exception(text: &str) -> bool {
    let text = text.trim_start();
    if is_cause(text) {
        return true;
    }
    let end = text.find([':', ' ', '(']).unwrap_or(text.len());
    let name = text[..end].rsplit(['.', '$', '/']).next().unwrap_or_default();
    let kind = ["Error", "Exception", "Throwable", "Failure", "Interrupt", "Exit", "Warning", "Fault"]
        .iter()
        .any(|kind| name.ends_with(kind));
    let capital = name.starts_with(|c: char| c.is_uppercase());
    let behind = &text[end..];
    let continues = behind.is_empty()
        || behind.starts_with(": ")
        || behind == ":"
        || behind.starts_with(" [")
        || behind.starts_with(" (");
    kind && capital && continues && text[..end].len() < 200
}

/// Paths and names of runtime and library code.
const LIBRARIES: [&str; 46] = [
    "(<anonymous>)",
    "(index ",
    "java.base/",
    " java.",
    " javax.",
    " jdk.",
    " sun.",
    " com.sun.",
    " kotlin.",
    " kotlinx.",
    " scala.",
    " org.springframework.",
    " org.junit.",
    " org.apache.",
    " org.hibernate.",
    " org.eclipse.",
    " io.netty.",
    " reactor.",
    " com.google.",
    " System.",
    " Microsoft.",
    "node:internal",
    "(node:",
    " node:",
    "node_modules",
    "(internal/",
    "/rustc/",
    " core::",
    " std::",
    " alloc::",
    "__rust",
    "rust_begin_unwind",
    "_start",
    "__libc",
    ".cargo/registry",
    "/usr/local/go/",
    "/usr/lib/",
    "/lib/python",
    "/usr/lib64/",
    "/go/src/runtime/",
    "runtime/",
    "site-packages",
    "<frozen ",
    "/gems/",
    "/pkg/mod/",
    " <core::",
];

/// Whether a frame is in a runtime or a library.
pub(super) fn is_library(frame: &str) -> bool {
    let look = &frame[..frame.floor_char_boundary(600)];
    let code = look.trim_start();
    LIBRARIES.iter().any(|library| {
        look.contains(library) || library.strip_prefix(' ').is_some_and(|name| code.starts_with(name))
    })
}

/// A frame of Python: `File "x.py", line 12, in f`.
pub(super) fn is_python_frame(text: &str) -> bool {
    text.strip_prefix("File \"").is_some_and(|rest| rest.contains("\", line "))
}

/// A frame of Rust: `12: core::panicking::panic`.
pub(super) fn is_rust_frame(text: &str) -> bool {
    let text = text.trim_start();
    let number = leading_digits(text);
    (1..6).contains(&number) && text[number..].starts_with(": ")
}

/// The location line of a Rust frame.
pub(super) fn is_rust_place(text: &str) -> bool {
    text.strip_prefix("             ").is_some_and(|rest| rest.trim_start().starts_with("at "))
}

/// The location line of a Go frame.
pub(super) fn is_go_place(text: &str) -> bool {
    text.starts_with('\t') && text.find(".go:").is_some_and(|at| leading_digits(&text[at + 4..]) > 0)
        || text.starts_with('\t') && text.contains(".s:")
}

/// `goroutine 12 [running]:`.
pub(super) fn is_goroutine(text: &str) -> bool {
    text.strip_prefix("goroutine ").is_some_and(|rest| leading_digits(rest) > 0 && rest.contains(" ["))
}

/// A Ruby frame other than the first.
pub(super) fn is_ruby_frame(text: &str) -> bool {
    let text = text.trim_start();
    let place = text.strip_prefix("from ").map(|rest| rest.find(":in ").map_or(rest, |at| &rest[..at]));
    place.is_some_and(|place| line_suffix(place).is_some())
}

/// The line between two chained Python tracebacks.
pub(super) fn is_python_link(text: &str) -> bool {
    text.starts_with("During handling of the above exception")
        || text.starts_with("The above exception was the direct cause")
}
