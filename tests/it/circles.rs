//! No two files need each other: data moves one way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module by its path within the crate.
type Module = Vec<String>;

/// A text up to its own tests.
fn without_tests(text: &str) -> &str {
    let inline = |at: &usize| {
        text[at + "#[cfg(test)]\nmod ".len()..].lines().next().is_some_and(|line| line.ends_with('{'))
    };
    let tests = text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at).find(inline);
    &text[..tests.unwrap_or(text.len())]
}

/// The modules of a crate, each with its text. Tests may need what they like.
fn modules(src: &Path) -> BTreeMap<Module, String> {
    let mut out = BTreeMap::new();
    let mut folders: Vec<(PathBuf, Module)> = vec![(src.to_owned(), Vec::new())];
    while let Some((folder, inside)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut module = inside.clone();
            if path.is_dir() && name != "tests" && name != "check" {
                module.push(name);
                folders.push((path, module));
            } else if name != "main"
                && path.extension().is_some_and(|end| end == "rs")
                && !name.ends_with("tests")
            {
                if !["lib", "mod"].contains(&name.as_str()) {
                    module.push(name);
                }
                let text = fs::read_to_string(&path).unwrap();
                let code = without_tests(&text);
                let line = |line: &&str| !line.trim_start().starts_with("//");
                out.insert(module, code.lines().filter(line).collect::<Vec<_>>().join("\n"));
            }
        }
    }
    out
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn flat(tree: &str, before: &str, out: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    for (at, c) in tree.char_indices().chain([(tree.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = tree[start..at].trim();
                start = at + 1;
                match part.split_once('{') {
                    Some((head, rest)) => {
                        flat(rest.strip_suffix('}').unwrap_or(rest), &format!("{before}{head}"), out);
                    }
                    None => out.push(format!("{before}{part}")),
                }
            }
            _ => {}
        }
    }
}

/// The paths that `use` items of a text name, and those that stand elsewhere.
fn paths(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut uses, mut other) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let begins = rest[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == ')');
        other.push_str(&rest[..at]);
        rest = &rest[at + 4..];
        if begins && let Some((tree, behind)) = rest.split_once(';') {
            flat(tree, "", &mut uses);
            rest = behind;
        }
    }
    other.push_str(rest);
    let named = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = other.split(|c: char| !named(c)).filter(|word| word.contains("::"));
    (uses, words.map(str::to_owned).collect())
}

/// What modules hand on of others, by module and name.
type HandedOn = BTreeMap<(Module, String), String>;

fn handed_on(all: &BTreeMap<Module, String>) -> HandedOn {
    let mut out = HandedOn::new();
    for (module, text) in all {
        let uses = text.split("\npub").skip(1).filter_map(|rest| {
            let rest = rest.strip_prefix("(crate)").or(rest.strip_prefix("(super)")).unwrap_or(rest);
            rest.strip_prefix(" use ")?.split_once(';').map(|(tree, _)| tree)
        });
        for tree in uses {
            let mut paths = Vec::new();
            flat(tree, "", &mut paths);
            for path in paths {
                let (path, name) = path.split_once(" as ").unwrap_or((&path, &path));
                let name = name.rsplit("::").next().unwrap().to_owned();
                out.insert((module.clone(), name), path.to_owned());
            }
        }
    }
    out
}

/// The module of this crate that a path in `module` leads into.
fn target(
    path: &str,
    module: &Module,
    all: &BTreeMap<Module, String>,
    handed_on: &HandedOn,
) -> Option<Module> {
    let segments: Vec<&str> = path.split("::").map(|s| s.split_whitespace().next().unwrap_or("")).collect();
    let mut at = module.clone();
    let child = || [module.as_slice(), &[segments[0].to_owned()]].concat();
    match segments[0] {
        "crate" => at.clear(),
        "self" | "super" => {}
        _ if all.contains_key(&child()) => {}
        _ => return None,
    }
    for segment in segments {
        match segment {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            name => {
                at.push(name.to_owned());
                if !all.contains_key(&at) {
                    at.pop();
                    let further = handed_on.get(&(at.clone(), name.to_owned()));
                    return match further.and_then(|path| target(path, &at, all, handed_on)) {
                        Some(origin) => Some(origin),
                        None => Some(at),
                    };
                }
            }
        }
    }
    Some(at)
}

/// Which modules each module needs.
fn needs(all: &BTreeMap<Module, String>) -> BTreeMap<&Module, BTreeSet<Module>> {
    let handed_on = handed_on(all);
    let leads = |path: &str, from: &Module| target(path, from, all, &handed_on);
    all.iter()
        .map(|(module, text)| {
            let (uses, words) = paths(text);
            let name = |path: &str| path.trim_end_matches("::self").rsplit("::").next().unwrap().to_owned();
            // A module that is brought in is needed for what is taken from it.
            let (modules, items): (Vec<_>, Vec<_>) = uses.iter().partition(|path| {
                leads(path, module).is_some_and(|at| at.last().is_some_and(|last| *last == name(path)))
            });
            let brought = |word: &str| {
                let (first, rest) = word.split_once("::")?;
                let path = modules.iter().find(|path| name(path) == first)?;
                leads(&format!("self::{rest}"), &leads(path, module)?)
            };
            let words = words.iter().filter_map(|word| brought(word).or_else(|| leads(word, module)));
            let targets = items.iter().filter_map(|path| leads(path, module)).chain(words);
            // What a module takes from those around it is theirs as much as its own.
            (module, targets.filter(|target| !module.starts_with(target)).collect())
        })
        .collect()
}

/// A module that needs itself by way of others, and the way.
fn circle(all: &BTreeMap<Module, String>) -> Option<String> {
    let needs = needs(all);
    for module in all.keys() {
        let (mut seen, mut next) = (BTreeMap::new(), vec![module]);
        while let Some(at) = next.pop() {
            for need in needs[at].iter().filter(|need| seen.insert(*need, at).is_none()) {
                next.push(need);
            }
        }
        if seen.contains_key(module) {
            let (mut way, mut at) = (vec![module.join("::")], seen[module]);
            while at != module && way.len() <= all.len() {
                way.push(at.join("::"));
                at = seen[at];
            }
            return Some(way.join(" <- "));
        }
    }
    None
}

#[test]
fn no_file_needs_one_that_needs_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut crates = vec![root.join("src")];
    crates.extend(fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src")));
    for src in crates {
        let all = modules(&src);
        assert!(!all.is_empty());
        assert_eq!(circle(&all), None, "in {}", src.display());
    }
}

#[test]
fn a_circle_is_found_through_names_that_are_handed_on() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let text = |path: &str, text: &str| (module(path), text.to_owned());
    let chain = [
        text("a", "\npub use b::Thing;\nmod b;\nmod c;"),
        text("a::b", "use super::c::{self, other};\nfn f() { c::f() }"),
        text("a::c", "fn f() {}"),
        text("d", "use crate::a;\nfn f() { a::Thing::new() }"),
    ];
    let mut all: BTreeMap<Module, String> = chain.into();
    assert_eq!(circle(&all), None);
    all.insert(module("a::c"), "use crate::d::f;".to_owned());
    assert_eq!(circle(&all).as_deref(), Some("a::b <- d <- a::c"));
}
