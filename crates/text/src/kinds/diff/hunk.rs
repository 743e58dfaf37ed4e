//! The pieces of a hunk.

use std::ops::Range;

use super::scan::Kind;

/// A hunk of more lines than this is cut.
const LONG: usize = 40;
/// A run of lines that are only added or only removed is cut, at blank lines, if it is longer than this.
const LONG_RUN: usize = 80;
/// Bytes of a line that no one wrote by hand.
const MINIFIED: usize = 1_000;

/// A line: where it starts in the text, and what it is.
pub(super) type Line = (usize, Kind);

/// Stretches of the lines behind a hunk's first one, as indices into `lines`. Cuts stand between groups of changes.
pub(super) fn stretches(text: &str, lines: &[Line]) -> Vec<Range<usize>> {
    if lines.len() <= LONG {
        return Some(0..lines.len()).into_iter().filter(|lines| !lines.is_empty()).collect();
    }
    let changed = |i: usize| matches!(lines[i].1, Kind::Added | Kind::Removed);
    let (mut out, mut begin, mut i) = (Vec::new(), 0, 0);
    while i < lines.len() {
        let run = i..(i..lines.len()).find(|j| changed(*j) != changed(i)).unwrap_or(lines.len());
        if changed(i) {
            let one = run.clone().all(|j| lines[j].1 == lines[i].1);
            if one && run.len() > LONG_RUN {
                for j in run.start + 1..run.end {
                    if j - begin >= LONG / 2 && bare(text, lines[j - 1].0) || j - begin >= 2 * LONG_RUN {
                        out.push(begin..j);
                        begin = j;
                    }
                }
            }
        } else if run.start > 0 && run.end < lines.len() {
            // The next group of changes, up to the middle of what follows it.
            let group = (run.end..lines.len()).find(|j| !changed(*j)).unwrap_or(lines.len());
            if group - begin > LONG && run.start > begin || run.len() > LONG {
                let middle = run.start + run.len().div_ceil(2);
                out.push(begin..middle);
                begin = middle;
            }
        }
        i = run.end;
    }
    out.push(begin..lines.len());
    out
}

/// Whether the line that starts here has nothing but its sign.
fn bare(text: &str, start: usize) -> bool {
    text[start..]
        .split('\n')
        .next()
        .is_some_and(|line| line.trim_matches(['+', '-', ' ', '\t', '\r']).is_empty())
}

/// Whether the lines of a hunk change nothing but white space, or are those of a minified file.
pub(super) fn is_noise(text: &str, lines: &[Line], end: usize) -> bool {
    let ends = lines.iter().skip(1).map(|line| line.0).chain([end]);
    let (mut removed, mut added, mut changes, mut same) = (String::new(), String::new(), 0, true);
    for ((start, kind), end) in lines.iter().zip(ends) {
        let line = &text[*start..end];
        let side = match kind {
            Kind::Removed => &mut removed,
            Kind::Added => &mut added,
            _ => {
                same &= removed == added;
                (removed, added) = (String::new(), String::new());
                continue;
            }
        };
        if line.len() > MINIFIED {
            return true;
        }
        changes += 1;
        if same {
            side.extend(line.chars().skip(1).filter(|c| !c.is_whitespace()));
        }
    }
    changes > 0 && same && removed == added
}

/// Whether a file is written by a program, by its path.
pub(super) fn is_generated(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let locks = [
        "package-lock.json",
        "npm-shrinkwrap.json",
        "pnpm-lock.yaml",
        "go.sum",
        "go.work.sum",
        "bun.lockb",
        "packages.lock.json",
        "gradle.lockfile",
        "Package.resolved",
        ".terraform.lock.hcl",
    ];
    let ends = [
        ".lock",
        ".min.js",
        ".min.css",
        ".js.map",
        ".css.map",
        ".pb.go",
        "_pb2.py",
        "_pb2.pyi",
        ".pb.cc",
        ".pb.h",
        ".g.dart",
        ".snap",
        ".designer.cs",
    ];
    let folders = ["node_modules", "vendor", "dist", "third_party"];
    locks.contains(&name)
        || ends.iter().any(|end| name.ends_with(end))
        || name.contains(".generated.")
        || name.contains("_generated.")
        || path.split('/').rev().skip(1).any(|folder| folders.contains(&folder))
}
