//! Checks that the corpus matches its README and `questions.json`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use epitome_text::tokens::tiktoken;
use serde::Deserialize;

/// A question on a text of the corpus.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// File name of the text.
    pub file: String,
    /// Tokens of the text, cl100k_base.
    pub tokens: usize,
    /// The question.
    pub query: String,
    /// A result answers the question if it contains any of these strings.
    pub answers: Vec<String>,
}

/// The path of a file of the corpus.
pub fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("eval/corpus").join(file)
}

/// A text of the corpus.
pub fn text(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}

/// All questions, two for each text.
pub fn questions() -> Vec<Question> {
    serde_json::from_str(&text("questions.json")).unwrap()
}

#[test]
fn questions_fit_their_texts() {
    let readme = text("README.md");
    let counter = tiktoken("cl100k_base").unwrap();
    for question in questions() {
        let text = text(&question.file);
        assert_eq!(counter.count(&text), question.tokens, "{}", question.file);
        let lower = text.to_lowercase();
        for answer in &question.answers {
            assert!(lower.contains(&answer.to_lowercase()), "{answer:?} is not in {}", question.file);
            assert!(readme.contains(answer.as_str()), "{answer:?} is not in the README");
        }
        assert!(readme.contains(&question.query), "{:?} is not in the README", question.query);
    }
}

#[test]
fn every_text_has_two_questions() {
    let texts: BTreeSet<String> = fs::read_dir(path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    assert_eq!(texts.len(), 4);
    for file in texts {
        assert_eq!(questions().iter().filter(|question| question.file == file).count(), 2, "{file}");
    }
}
