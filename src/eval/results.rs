//! Reads, checks and merges the results files that `run` writes.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
};

use serde::Serialize;
use thiserror::Error;

use super::record::{Header, Record};
use crate::exit::is_bad_path;

/// A results file is unusable.
#[derive(Debug, Error)]
pub enum ResultsError {
    /// It could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{path} is empty: a results file begins with a header line")]
    Empty {
        /// Which file.
        path: String,
    },
    /// The first line is not a header.
    #[error("{path}, line {line}: not the header of a results file: {reason}")]
    Header {
        /// Which file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A line is not a record.
    #[error("{path}, line {line}: not a record: {reason}")]
    Record {
        /// Which file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A value is out of its range.
    #[error("{path}, line {line}: {field} is {value}, it must be {range}")]
    Range {
        /// Which file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// Which field.
        field: &'static str,
        /// The value.
        value: f64,
        /// The valid range.
        range: &'static str,
    },
}

impl ResultsError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("`epitome eval run SUITE` writes a results file".into())
            }
            Self::Read { .. } => None,
            Self::Empty { .. } | Self::Header { .. } => {
                Some("give a file that `epitome eval run` wrote, not a suite or a report".into())
            }
            Self::Record { .. } | Self::Range { .. } => Some("remove the line, or run again".into()),
        }
    }

    /// 1 for an I/O failure, 2 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source, .. } if !is_bad_path(source) => 1,
            _ => 2,
        }
    }
}

/// Identifies a measurement. Two records with the same key repeat the same measurement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    /// Task name.
    pub task: String,
    /// Row of the task.
    pub row: String,
    /// Arm name.
    pub arm: String,
    /// Budget as written.
    pub budget: String,
    /// Reader name; `None` for a reader-free record.
    pub reader: Option<String>,
}

impl Key {
    /// The key of a record.
    pub fn of(record: &Record) -> Self {
        Self {
            task: record.task.clone(),
            row: record.row.clone(),
            arm: record.arm.clone(),
            budget: record.budget.clone(),
            reader: record.reader.clone(),
        }
    }
}

/// A record and the seed of its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Seeded {
    /// Seed of the run.
    pub seed: u64,
    /// The measurement.
    pub record: Record,
}

/// The records of one or more results files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// A header for each file, in the order given.
    pub headers: Vec<Header>,
    /// Every measurement once, in the order of its first appearance.
    pub records: Vec<Seeded>,
    /// Caveats about the files, for readers of the report.
    pub warnings: Vec<String>,
}

impl Results {
    /// Reads one file.
    ///
    /// If several records have the same key, the last one counts. A truncated last line, as an interrupted
    /// run leaves it, is skipped with a warning.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] names file and line.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|source| ResultsError::Read { path: name.clone(), source })?;
        Self::parse(&bytes, &name)
    }

    /// Reads several files as one, for example one for each seed or reader.
    ///
    /// Records of different seeds are kept side by side. Of records with the same key and seed, the last one
    /// counts. Files that may not be comparable cause warnings.
    ///
    /// # Errors
    ///
    /// As [`Results::read`].
    pub fn read_all<P: AsRef<Path>>(paths: &[P]) -> Result<Self, ResultsError> {
        let mut all = Self::default();
        let mut place = HashMap::new();
        let mut replaced = 0;
        for path in paths {
            let one = Self::read(path.as_ref())?;
            all.headers.extend(one.headers);
            all.warnings.extend(one.warnings);
            for seeded in one.records {
                replaced += usize::from(insert(&mut all.records, &mut place, seeded));
            }
        }
        if replaced > 0 {
            all.warnings.push(format!("{replaced} records of a file are replaced by those of a later file"));
        }
        all.warnings.extend(differences(&all.headers));
        Ok(all)
    }

    /// Parses a file's bytes; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`Results::read`].
    pub fn parse(bytes: &[u8], path: &str) -> Result<Self, ResultsError> {
        let mut lines = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty());
        let Some((at, first)) = lines.next() else {
            return Err(ResultsError::Empty { path: path.to_owned() });
        };
        let header: Header = serde_json::from_slice(first).map_err(|error| ResultsError::Header {
            path: path.to_owned(),
            line: at + 1,
            reason: reason(&error),
        })?;
        let mut results = Self::default();
        let mut place = HashMap::new();
        for (at, line) in lines {
            let record: Record = match serde_json::from_slice(line) {
                Ok(record) => record,
                Err(_) if !line.ends_with(b"\n") => {
                    results.warnings.push(format!(
                        "{path}, line {}: the last line is cut and was left out; the run was interrupted",
                        at + 1
                    ));
                    continue;
                }
                Err(error) => {
                    return Err(ResultsError::Record {
                        path: path.to_owned(),
                        line: at + 1,
                        reason: reason(&error),
                    });
                }
            };
            check(&record, path, at + 1)?;
            insert(&mut results.records, &mut place, Seeded { seed: header.seed, record });
        }
        results.headers.push(header);
        Ok(results)
    }
}

/// The index of each measurement.
type Places = HashMap<(u64, Key), usize>;

/// Adds a record or replaces the one with its key; returns whether there was one.
fn insert(records: &mut Vec<Seeded>, places: &mut Places, seeded: Seeded) -> bool {
    let next = records.len();
    let at = *places.entry((seeded.seed, Key::of(&seeded.record))).or_insert(next);
    match records.get_mut(at) {
        Some(there) => {
            *there = seeded;
            true
        }
        None => {
            records.push(seeded);
            false
        }
    }
}

/// Serde's message without its position, because the file's line is named already.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => format!("{} (column {})", text.get(..at).unwrap_or(&text), error.column()),
        None => text,
    }
}

fn check(record: &Record, path: &str, line: usize) -> Result<(), ResultsError> {
    let shares = [
        ("score", record.score),
        ("gold_kept", record.gold_kept),
        ("predicted_retention", record.predicted_retention),
        ("filler", record.filler),
        ("covered", record.covered),
        ("position", record.position),
    ];
    let amounts = [
        ("compact_ms", Some(record.compact_ms)),
        ("first_token_ms", record.first_token_ms),
        ("reader_ms", record.reader_ms),
        ("joules", record.joules),
        ("co2_grams", record.co2_grams),
        ("price", record.price),
    ];
    let shares = shares.into_iter().map(|(field, value)| (field, value, 1.0, "from 0 to 1"));
    let amounts = amounts.into_iter().map(|(field, value)| (field, value, f64::MAX, "0 or more"));
    for (field, value, most, range) in shares.chain(amounts) {
        if let Some(value) = value
            && !(0.0..=most).contains(&value)
        {
            return Err(ResultsError::Range { path: path.to_owned(), line, field, value, range });
        }
    }
    Ok(())
}

/// Warnings about headers that do not match.
pub fn differences(headers: &[Header]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut data: BTreeMap<&str, &str> = BTreeMap::new();
    for source in headers.iter().flat_map(|header| &header.data) {
        let hash = data.entry(&source.task).or_insert(&source.hash);
        if *hash != source.hash {
            warnings.push(format!("the files do not hold the same data for task {}", source.task));
        }
    }
    type Aspect = (&'static str, fn(&Header) -> &str);
    let aspects: [Aspect; 3] = [
        ("commits", |header| &header.commit),
        ("configurations", |header| &header.config),
        ("machines", |header| &header.hardware),
    ];
    for (name, aspect) in aspects {
        if headers.windows(2).any(|pair| matches!(pair, [one, other] if aspect(one) != aspect(other))) {
            warnings.push(format!("the files come from different {name}"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"task":"t","row":"1","document":"d","stratum":"semantic","scoring":"exact","arm":"full","budget":"","reader":null,"position":null,"tokens_full":9,"tokens":9,"outcome":"passed","reason":null,"answer_kept":true,"gold_kept":null,"answer":null,"score":null,"compact_ms":0.0,"cache_lookups":0,"cache_hits":0,"first_token_ms":null,"reader_ms":null,"prompt_tokens":null,"completion_tokens":null,"peak_memory":null,"peak_gpu_memory":null,"joules":null,"price":null}"#;

    fn file(lines: &[&str], end: &str) -> Vec<u8> {
        let header = serde_json::to_string(&Header { seed: 7, ..Header::default() }).unwrap();
        let mut text = header;
        for line in lines {
            text.push('\n');
            text.push_str(line);
        }
        text.push_str(end);
        text.into_bytes()
    }

    #[test]
    fn a_torn_last_line_is_skipped_and_a_torn_middle_line_is_an_error() {
        let cut = &RECORD[..100];
        let results = Results::parse(&file(&[RECORD, cut], ""), "r.jsonl").unwrap();
        assert_eq!(results.records.len(), 1);
        assert!(results.warnings[0].contains("line 3"), "{:?}", results.warnings);
        let error = Results::parse(&file(&[RECORD, cut, RECORD], "\n"), "r.jsonl").unwrap_err();
        assert!(matches!(error, ResultsError::Record { line: 3, .. }), "{error}");
        // A complete last line without a line break counts.
        let whole = Results::parse(&file(&[RECORD], ""), "r.jsonl").unwrap();
        assert_eq!(whole.records.len(), 1);
        assert_eq!(whole.warnings, [""; 0]);
    }

    #[test]
    fn a_line_torn_within_a_character_is_skipped() {
        let mut bytes = file(&[RECORD, r#"{"task":"t"#], "");
        bytes.push(0xC3);
        assert_eq!(Results::parse(&bytes, "r.jsonl").unwrap().records.len(), 1);
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let later = RECORD.replace("\"answer_kept\":true", "\"answer_kept\":false");
        let results = Results::parse(&file(&[RECORD, &later], "\n"), "r.jsonl").unwrap();
        assert_eq!(results.records.len(), 1);
        assert_eq!(results.records[0].record.answer_kept, Some(false));
        assert_eq!(results.records[0].seed, 7);
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        let bad = RECORD.replace("\"score\":null", "\"score\":1.5");
        let error = Results::parse(&file(&[&bad], "\n"), "r.jsonl").unwrap_err();
        assert_eq!(error.to_string(), "r.jsonl, line 2: score is 1.5, it must be from 0 to 1");
        for (bytes, line) in [(b"\n\n".as_slice(), "empty"), (b"{}\n", "line 1"), (b"\nnot json", "line 2")] {
            let error = Results::parse(bytes, "r.jsonl").unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
