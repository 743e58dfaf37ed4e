//! The language of a fenced code block.

use super::code::Language;

/// The language that a fence's info string names: `rust,ignore`, `py title="a.py"`, `{.python}`, `ts:src/a.ts`.
pub fn language(info: &str) -> Option<Language> {
    let info = info.trim().trim_start_matches(['`', '~']).trim_start();
    let info = info.trim_start_matches('{').trim_start_matches('.');
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | ':' | ';' | '"' | '=');
    let word = info.split(ends).next().unwrap_or_default();
    let word = word.strip_prefix("language-").or_else(|| word.strip_prefix("lang-")).unwrap_or(word);
    Language::named(word).or_else(|| Language::of_path(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_strings() {
        for (info, expected) in [
            ("rust", Some(Language::Rust)),
            ("rs", Some(Language::Rust)),
            ("rust,ignore", Some(Language::Rust)),
            ("Python", Some(Language::Python)),
            ("py title=\"a.py\"", Some(Language::Python)),
            ("python3", Some(Language::Python)),
            ("{.python .numberLines}", Some(Language::Python)),
            ("js", Some(Language::JavaScript)),
            ("jsx", Some(Language::JavaScript)),
            ("ts:src/a.ts", Some(Language::TypeScript)),
            ("tsx", Some(Language::Tsx)),
            ("go", Some(Language::Go)),
            ("java", Some(Language::Java)),
            ("c", Some(Language::C)),
            ("h", Some(Language::C)),
            ("cpp", Some(Language::Cpp)),
            ("c++", Some(Language::Cpp)),
            ("```bash", Some(Language::Bash)),
            ("src/main.rs", Some(Language::Rust)),
            ("language-go", Some(Language::Go)),
            ("", None),
            ("text", None),
            ("json", None),
            ("diff", None),
            ("é", None),
        ] {
            assert_eq!(language(info), expected, "{info:?}");
        }
    }
}
