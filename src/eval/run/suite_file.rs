//! Reads a suite file and reports mistakes with file, line and key.

use std::{collections::BTreeSet, fs, io, path::Path};

use thiserror::Error;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{eval::suite::Suite, exit::is_bad_path};

/// A suite cannot be used.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Path.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// It is not TOML, or not a suite.
    #[error("{path}: {message}")]
    Invalid {
        /// Path.
        path: String,
        /// Line, place and reason.
        message: String,
    },
    /// The suite is inconsistent. Lists all problems.
    #[error("{path} has {} problem(s):\n{}", .problems.len(), .problems.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
    Inconsistent {
        /// Path.
        path: String,
        /// Each with its key, and its line if known.
        problems: Vec<String>,
    },
}

impl SuiteError {
    /// 1 for an I/O failure, 2 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            SuiteError::Read { source, .. } if !is_bad_path(source) => 1,
            _ => 2,
        }
    }
}

/// Reads and checks a suite.
///
/// # Errors
///
/// [`SuiteError`].
pub fn read(path: &Path) -> Result<Suite, SuiteError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| SuiteError::Read { path: name.clone(), source })?;
    parse(&text, &name)
}

/// Parses the text of a suite; `path` is for messages.
fn parse(text: &str, path: &str) -> Result<Suite, SuiteError> {
    let invalid = |error: toml::de::Error| SuiteError::Invalid {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    };
    let suite: Suite = toml::from_str(text).map_err(invalid)?;
    let table = DeTable::parse(text).map_err(invalid)?;
    let mut problems = unknown_keys(table.get_ref(), text);
    problems.extend(senseless(&suite));
    if problems.is_empty() {
        Ok(suite)
    } else {
        Err(SuiteError::Inconsistent { path: path.to_owned(), problems })
    }
}

/// Checks the keys of arms. Each kind of arm takes other keys, so serde cannot reject unknown ones here.
fn unknown_keys(table: &DeTable<'_>, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for arm in elements(table, "arms") {
        let DeValue::Table(keys) = arm.get_ref() else { continue };
        let kind = keys.iter().find(|(key, _)| key.get_ref() == "kind");
        let kind = kind.and_then(|(_, value)| value.get_ref().as_str()).unwrap_or_default();
        let own: &[&str] = match kind {
            "epitome" => &["set", "outline"],
            "http" => &["url"],
            _ => &[],
        };
        for (key, _) in keys.iter() {
            let name: &str = key.get_ref();
            if !["name", "kind", "budgets", "optional"].contains(&name) && !own.contains(&name) {
                let line = line_of(text, key.span().start);
                problems.push(format!("line {line}: arms.{name}: an arm of kind {kind:?} has no such key"));
            }
        }
    }
    problems
}

fn elements<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Vec<&'t Spanned<DeValue<'i>>> {
    let found = table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref());
    match found {
        Some(DeValue::Array(array)) => array.iter().collect(),
        _ => Vec::new(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn senseless(suite: &Suite) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |ok: bool, text: String| {
        if !ok {
            problems.push(text);
        }
    };
    check(!suite.name.trim().is_empty(), "name: must not be empty".into());
    check(!suite.tasks.is_empty(), "tasks: there must be at least one".into());
    check(!suite.arms.is_empty(), "arms: there must be at least one".into());
    let arms: Vec<String> = suite.arms.iter().map(|arm| arm.label().to_owned()).collect();
    let named = [
        ("tasks", suite.tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>()),
        ("arms", arms.clone()),
        ("readers", suite.readers.iter().map(|reader| reader.name.clone()).collect()),
    ];
    for (list, names) in named {
        let mut seen = BTreeSet::new();
        for name in names {
            check(!name.trim().is_empty(), format!("{list}.name: must not be empty"));
            check(seen.insert(name.clone()), format!("{list}.name: {name:?} is there twice"));
        }
    }
    for task in &suite.tasks {
        check(task.sample != Some(0), format!("tasks.sample: {}: must be at least 1", task.name));
        let none = task.rows.as_ref().is_some_and(Vec::is_empty);
        check(!none, format!("tasks.rows: {}: must name a row", task.name));
        let mut seen = BTreeSet::new();
        for id in task.rows.iter().flatten() {
            check(seen.insert(id), format!("tasks.rows: {}: {id:?} is there twice", task.name));
        }
    }
    for (arm, name) in suite.arms.iter().zip(&arms) {
        if !arm.kind.takes_budget() {
            check(arm.budgets.is_none(), format!("arms.budgets: {name}: this kind of arm has no size"));
        } else {
            let count = arm.sizes(suite).count();
            check(count > 0, format!("budgets: there is none for the arm {name}"));
            let kind = arm.kind.as_str();
            let refused: Vec<_> = arm.sizes(suite).filter(|size| !arm.kind.keeps_to(*size)).collect();
            // The suite's floors are skipped for such arms; a floor of the arm's own is a mistake.
            for size in refused.iter().filter(|_| arm.budgets.is_some()) {
                check(
                    false,
                    format!("arms.budgets: {name}: {size}: an arm of kind {kind:?} predicts no retention"),
                );
            }
            let all = arm.budgets.is_none() && !refused.is_empty() && refused.len() == count;
            check(
                !all,
                format!(
                    "budgets: an arm of kind {kind:?} predicts no retention, give {name} budgets that are no floor"
                ),
            );
        }
    }
    for reader in &suite.readers {
        let name = &reader.name;
        check(!reader.model.trim().is_empty(), format!("readers.model: {name}: must not be empty"));
        check(reader.concurrency > 0, format!("readers.concurrency: {name}: must be at least 1"));
        check(reader.max_tokens > 0, format!("readers.max_tokens: {name}: must be at least 1"));
        check(
            reader.url.is_none() || reader.decoder_precision.is_none(),
            format!("readers.decoder_precision: {name}: a server has its own"),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_compactor::Budget;

    const SUITE: &str = r#"
name = "s"
budgets = ["25%", 2000]

[[tasks]]
name = "t"
path = "t.jsonl"

[[arms]]
kind = "full"

[[arms]]
kind = "epitome"
name = "lexical"
budgets = ["10%"]
set = { "rank.dense" = "false" }

[[readers]]
name = "r"
model = "m"
"#;

    #[test]
    fn a_suite_round_trips() {
        let suite = parse(SUITE, "s.toml").unwrap();
        assert_eq!(suite.budgets, [Budget::Share(0.25), Budget::Tokens(2000)]);
        assert_eq!(suite.arms.iter().map(|arm| arm.label()).collect::<Vec<_>>(), ["full", "lexical"]);
        let again = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&again, "again").unwrap(), suite, "{again}");
    }

    #[test]
    fn floors_require_arms_that_predict_retention() {
        let floors = SUITE.replace("[\"25%\", 2000]", "[{ floor = 0.98 }, \"floor=0.9\"]");
        let suite = parse(&floors, "s.toml").unwrap();
        assert_eq!(suite.budgets, [Budget::Floor(0.98), Budget::Floor(0.9)]);
        let again = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&again, "again").unwrap(), suite, "{again}");
        let mixed =
            SUITE.replace("2000]", "2000, { floor = 0.98 }]").replace("[\"10%\"]", "[{ floor = 0.5 }]");
        let suite = parse(&mixed, "s.toml").unwrap();
        assert_eq!(suite.arms[1].budgets, Some(vec![Budget::Floor(0.5)]));
        let again = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&again, "again").unwrap(), suite, "{again}");
        // With floors only, an arm that predicts nothing has no budget to run at.
        let idle = floors.replace("kind = \"full\"", "kind = \"head\"");
        let error = parse(&idle, "s.toml").unwrap_err().to_string();
        assert!(error.contains("give head budgets that are no floor"), "{error}");
        let idle = mixed.replace("kind = \"full\"", "kind = \"head\"");
        assert!(parse(&idle, "s.toml").is_ok());
    }

    #[test]
    fn mistakes_are_reported_with_file_line_and_key() {
        let error = |from: &str, to: &str| {
            let text = SUITE.replace(from, to);
            assert_ne!(text, SUITE);
            parse(&text, "s.toml").unwrap_err().to_string()
        };
        for (from, to, told) in [
            ("path = \"t.jsonl\"", "path = \"t.jsonl\"\npth = 1", "line 8"),
            ("path = \"t.jsonl\"", "path = \"t.jsonl\"\npth = 1", "pth"),
            ("kind = \"full\"", "kind = \"ful\"", "line 9"),
            ("kind = \"full\"", "kind = \"ful\"", "ful"),
            ("budgets = [\"10%\"]", "bugdets = [\"10%\"]", "line 15: arms.bugdets"),
            ("kind = \"full\"", "kind = \"full\"\nurl = \"x\"", "line 11: arms.url"),
            ("kind = \"full\"", "kind = \"full\"\nbudgets = [5]", "arms.budgets: full"),
            ("\"25%\"", "\"250%\"", "line 3"),
            ("name = \"lexical\"", "name = \"full\"", "arms.name: \"full\" is there twice"),
            ("[\"25%\", 2000]", "[", "line 6"),
            ("budgets = [\"10%\"]", "budgets = []", "none for the arm lexical"),
            ("\"25%\", 2000", "{ floor = 1.5 }", "line 3"),
            ("\"25%\", 2000", "{ floor = 0.9, ceiling = 3 }", "line 3"),
            (
                "kind = \"full\"",
                "kind = \"bm25\"\nbudgets = [9, \"floor=0.9\"]",
                "bm25: floor=0.9: an arm of",
            ),
            ("model = \"m\"", "model = \"m\"\nconcurrency = 0", "readers.concurrency: r"),
            ("model = \"m\"", "model = \"m\"\ndecoder_precision = \"int5\"", "int5"),
            (
                "model = \"m\"",
                "model = \"m\"\nurl = \"http://h\"\ndecoder_precision = \"int8\"",
                "readers.decoder_precision: r",
            ),
            ("path = \"t.jsonl\"", "path = \"t.jsonl\"\nsample = 0", "tasks.sample: t"),
            ("path = \"t.jsonl\"", "path = \"t.jsonl\"\nrows = []", "tasks.rows: t"),
            (
                "path = \"t.jsonl\"",
                "path = \"t.jsonl\"\nrows = [\"a\", \"b\", \"a\"]",
                "tasks.rows: t: \"a\" is there twice",
            ),
        ] {
            let message = error(from, to);
            assert!(message.starts_with("s.toml") && message.contains(told), "{told}:\n{message}");
        }
        let nothing = parse("name = \"\"\nbudgets = []\ntasks = []\narms = []", "s.toml").unwrap_err();
        let SuiteError::Inconsistent { problems, .. } = nothing else { panic!("{nothing}") };
        assert_eq!(
            problems,
            [
                "name: must not be empty",
                "tasks: there must be at least one",
                "arms: there must be at least one"
            ]
        );
    }
}
