//! Cheap language detection: counts lines that begin or end in a way typical of a language.

use super::Language;

/// A pattern of lines that suggests a language: how a line begins, and how it ends (any of several ways).
struct Signal(Language, &'static str, &'static [&'static str]);

const ANY: &[&str] = &[""];

const SIGNALS: &[Signal] = {
    use Language::{C, Cpp, Go, Java, JavaScript as Js, Python, Rust, TypeScript as Ts};
    &[
        Signal(Rust, "use ", &[";", "{"]),
        Signal(Rust, "fn ", &["{", "(", "}"]),
        Signal(Rust, "pub fn ", &["{", "(", "}"]),
        Signal(Rust, "pub(crate) fn ", &["{", "("]),
        Signal(Rust, "pub struct ", &["{", ";"]),
        Signal(Rust, "pub enum ", &["{"]),
        Signal(Rust, "pub const ", &["[", "{", ";", "("]),
        Signal(Rust, "pub static ", &["[", "{", ";", "("]),
        Signal(Rust, "pub mod ", &["{", ";"]),
        Signal(Rust, "pub use ", &["{", ";"]),
        Signal(Rust, "pub trait ", &["{"]),
        Signal(Rust, "pub type ", &[";"]),
        Signal(Rust, "#![", &["]"]),
        Signal(Rust, "impl", &["{"]),
        Signal(Rust, "let mut ", &[";", "{"]),
        Signal(Rust, "#[derive(", &[")]"]),
        Signal(Rust, "#[cfg(", &[")]"]),
        Signal(Rust, "mod ", &[";", "{"]),
        Signal(Python, "def ", &[":", "(", ","]),
        Signal(Python, "async def ", &[":", "("]),
        Signal(Python, "class ", &[":"]),
        Signal(Python, "import ", &["_", ""]),
        Signal(Python, "from ", &["", "("]),
        Signal(Python, "if __name__ ==", &[":"]),
        Signal(Python, "elif ", &[":"]),
        Signal(Python, "except", &[":"]),
        Signal(Python, "@", &[")", ""]),
        Signal(Go, "package ", ANY),
        Signal(Go, "func ", &["{", "("]),
        Signal(Go, "import (", ANY),
        Signal(Go, "if err != nil {", ANY),
        Signal(Go, "type ", &["struct {", "interface {"]),
        Signal(Java, "package ", &[";"]),
        Signal(Java, "import java", &[";"]),
        Signal(Java, "import ", &[";"]),
        Signal(Java, "public ", &["{", ";", ","]),
        Signal(Java, "private ", &["{", ";"]),
        Signal(Java, "protected ", &["{", ";"]),
        Signal(Java, "@Override", ANY),
        Signal(Js, "import ", &["'", "\"", "';", "\";"]),
        Signal(Js, "export ", &["{", ";", "}", "'"]),
        Signal(Js, "const ", &[";", "{", ")", "'", "(", "["]),
        Signal(Js, "let ", &[";", "{", ")"]),
        Signal(Js, "var ", &[";", "{", ","]),
        Signal(Js, "function ", &["{", "(", "}"]),
        Signal(Js, "async function ", &["{", "("]),
        Signal(Js, "module.exports", ANY),
        Signal(Js, "class ", &["{"]),
        Signal(Ts, "interface ", &["{", "}"]),
        Signal(Ts, "export interface ", &["{", "}"]),
        Signal(Ts, "export type ", ANY),
        Signal(Ts, "import type ", ANY),
        Signal(Ts, "declare ", ANY),
        Signal(Ts, "private ", &["{", ";"]),
        Signal(Ts, "readonly ", &[";"]),
        Signal(C, "#include ", &[">", "\""]),
        Signal(C, "#define ", ANY),
        Signal(C, "#ifndef ", ANY),
        Signal(C, "static ", &[";", "{", ")", ","]),
        Signal(C, "typedef ", &[";", "{"]),
        Signal(C, "struct ", &["{", ";"]),
        Signal(C, "int ", &["{", ")", ";", ","]),
        Signal(C, "void ", &["{", ")", ";", ","]),
        Signal(Cpp, "namespace ", &["{", ""]),
        Signal(Cpp, "template", &[">", "{"]),
        Signal(Cpp, "using ", &[";"]),
        Signal(Cpp, "std::", &[";", "{"]),
        Signal(Cpp, "virtual ", &[";", "{"]),
        Signal(Cpp, "public:", ANY),
        Signal(Cpp, "private:", ANY),
        Signal(Cpp, "class ", &["{", ";"]),
    ]
};

/// The languages suggested by at least `fewest` lines, the most likely first.
pub(super) fn likely<'a>(lines: impl Iterator<Item = &'a str>, fewest: usize) -> Vec<Language> {
    let mut scores = [0usize; Language::ALL.len()];
    let place = |language: Language| Language::ALL.iter().position(|l| *l == language).unwrap_or_default();
    for line in lines {
        let line = line.trim();
        let mut counted = [false; Language::ALL.len()];
        for Signal(language, begins, ends) in SIGNALS {
            let at = place(*language);
            if !counted[at] && line.starts_with(begins) && ends.iter().any(|end| line.ends_with(end)) {
                counted[at] = true;
                scores[at] += 1;
            }
        }
    }
    // These languages also accept the code of the ones they extend; with equal evidence they come second.
    scores[place(Language::Cpp)] += scores[place(Language::C)];
    scores[place(Language::TypeScript)] += scores[place(Language::JavaScript)];
    scores[place(Language::Tsx)] = scores[place(Language::TypeScript)];
    let mut likely: Vec<(usize, Language)> =
        scores.into_iter().zip(Language::ALL).filter(|(score, _)| *score >= fewest).collect();
    likely.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    likely.into_iter().map(|(_, language)| language).collect()
}
