//! Rows of each task, from any supported format.
//!
//! ```text
//! path of the suite      ->  file      bytes from the disk or the hub, unpacked, cut in records
//! one record             ->  adapter   a draft of a row, one file a format
//! where the answer stands -> gold      byte ranges of the context
//! draft                  ->  row       checked, its context shared, its defaults filled
//! all rows               ->  unit      rows over one text have one document
//!                        ->  sample    some of them, spread over the documents
//! ```

mod epitome;
mod error;
pub(super) mod file;
pub(super) mod gold;
mod longbench;
mod longbench_v2;
mod lost_in_the_middle;
mod plain;
mod ruler;
pub(crate) mod sample;
mod unit;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    path::Path,
    sync::Arc,
};

pub use error::{Problem, TaskError};

use super::{
    record::DataSource,
    row::{Row, Scoring, Stratum, SummaryMeasures},
    suite::{Format, TaskSpec},
};

/// A task and its rows.
#[derive(Clone, Debug)]
pub struct Task {
    /// The rows that were drawn, in the order of the file.
    pub rows: Vec<Row>,
    /// Where they came from.
    pub source: DataSource,
}

/// Reads the rows of a task.
///
/// `base` is the directory of the suite file, or the suite file itself; relative paths start there.
/// `seed` draws the sample: the same seed draws the same rows, whatever else the suite holds.
///
/// # Errors
///
/// [`TaskError`]. Bad rows are not skipped: the error lists all bad rows of the file, each with its line.
pub fn load(spec: &TaskSpec, base: &Path, seed: u64) -> Result<Task, TaskError> {
    let bytes = file::bytes(&spec.path, base)?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let text = file::text(&spec.path, bytes)?;
    let read: fn(&str, &TaskSpec) -> Result<Draft, String> = match spec.format {
        Format::Epitome => epitome::read,
        Format::Longbench => longbench::read,
        Format::LongbenchV2 => longbench_v2::read,
        Format::Ruler => ruler::read,
        Format::LostInTheMiddle => lost_in_the_middle::read,
        Format::Plain => plain::read,
    };
    let mut shelf = Shelf::default();
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in file::records(&spec.path, &text)? {
        let row = read(record.json, spec).and_then(|draft| draft.finish(spec, record.line, &mut shelf));
        match row {
            Ok(row) => rows.push(row),
            Err(reason) => problems.push(Problem { line: record.line, reason }),
        }
    }
    if !problems.is_empty() {
        return Err(TaskError::Rows { path: spec.path.clone(), problems });
    }
    if rows.is_empty() {
        return Err(TaskError::Empty { path: spec.path.clone() });
    }
    unit::unite(&mut rows);
    if let Some(wanted) = &spec.rows {
        rows = named(rows, wanted).map_err(|ids| TaskError::UnknownRows { path: spec.path.clone(), ids })?;
    }
    if let Some(size) = spec.sample {
        rows = sample::draw(rows, size, seed, &spec.name);
    }
    let source = DataSource { task: spec.name.clone(), path: spec.path.clone(), hash, rows: rows.len() };
    Ok(Task { rows, source })
}

/// Rows from several files of one's own, each row in the layout that its fields tell.
#[derive(Default)]
pub(super) struct Collection {
    shelf: Shelf,
    rows: Vec<Row>,
}

impl Collection {
    /// Adds the rows of a file; the reason says what is wrong with a record. An id stands in a file once.
    pub(super) fn file<'c>(
        &'c mut self,
        task: &str,
    ) -> impl FnMut(&file::Record<'_>) -> Result<(), String> + 'c {
        self.shelf.ids.clear();
        let spec = TaskSpec {
            name: task.to_owned(),
            path: String::new(),
            format: Format::default(),
            rows: None,
            sample: None,
            scoring: None,
            stratum: None,
            rouge: None,
            covered: false,
        };
        move |record| {
            let read = if states_scoring(record.json) { epitome::read } else { plain::read };
            let row = read(record.json, &spec)?.finish(&spec, record.line, &mut self.shelf)?;
            self.rows.push(row);
            Ok(())
        }
    }

    /// All rows, in the order of the files; those over one text have one document.
    pub(super) fn rows(mut self) -> Vec<Row> {
        unit::unite(&mut self.rows);
        self.rows
    }
}

/// Whether a row says how its answers are scored, as those of this repository do.
fn states_scoring(json: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(rename = "scoring")]
        _scoring: serde::de::IgnoredAny,
    }
    #[derive(serde::Deserialize)]
    struct Stated {
        #[serde(rename = "metadata")]
        _metadata: Metadata,
    }
    serde_json::from_str::<Stated>(json).is_ok()
}

/// The rows with these ids, or the ids that no row has.
fn named(mut rows: Vec<Row>, wanted: &[String]) -> Result<Vec<Row>, Vec<String>> {
    let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    rows.retain(|row| wanted.contains(row.id.as_str()));
    let found: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut missing: Vec<String> = wanted.difference(&found).map(|id| (*id).to_owned()).collect();
    missing.sort_unstable();
    if missing.is_empty() { Ok(rows) } else { Err(missing) }
}

/// A record as read by an adapter.
struct Draft {
    /// Defaults to the line number.
    id: Option<String>,
    context: String,
    query: String,
    answers: Vec<String>,
    choices: Vec<String>,
    answer_index: Option<usize>,
    scoring: Scoring,
    gold: Vec<Range<usize>>,
    /// Defaults to the context's hash.
    document: Option<String>,
    stratum: Stratum,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            id: None,
            context: String::new(),
            query: String::new(),
            answers: Vec::new(),
            choices: Vec::new(),
            answer_index: None,
            scoring: Scoring::F1OrJudge,
            gold: Vec::new(),
            document: None,
            stratum: Stratum::Semantic,
        }
    }
}

/// Contexts and ids seen so far.
#[derive(Default)]
struct Shelf {
    contexts: HashMap<blake3::Hash, Arc<str>>,
    ids: HashSet<String>,
}

impl Draft {
    /// Checks the draft and turns it into a row.
    fn finish(mut self, spec: &TaskSpec, line: usize, shelf: &mut Shelf) -> Result<Row, String> {
        let scoring = spec.scoring.unwrap_or(self.scoring);
        self.answers.retain(|answer| !answer.trim().is_empty());
        if self.context.trim().is_empty() {
            return Err("the context is empty".into());
        }
        if self.query.trim().is_empty() {
            return Err("the query is empty".into());
        }
        match self.answer_index {
            Some(index) if index >= self.choices.len() => {
                return Err(format!("answer_index is {index}, but there are {} choices", self.choices.len()));
            }
            None if scoring == Scoring::Mcq => {
                return Err("scoring is mcq, but there is no answer_index among choices".into());
            }
            None if self.answers.is_empty() => return Err("there is no answer".into()),
            _ => {}
        }
        let id = self.id.unwrap_or_else(|| line.to_string());
        if !shelf.ids.insert(id.clone()) {
            return Err(format!("the id {id:?} stands in the file twice"));
        }
        let hash = blake3::hash(self.context.as_bytes());
        let context = shelf.contexts.entry(hash).or_insert_with(|| Arc::from(self.context)).clone();
        let gold = gold::tidy(&context, self.gold);
        Ok(Row {
            id,
            task: spec.name.clone(),
            position: position(&gold, context.len()),
            query: self.query.trim().to_owned(),
            answers: self.answers,
            choices: self.choices,
            answer_index: self.answer_index,
            scoring,
            summary: SummaryMeasures {
                rouge: spec.rouge.unwrap_or(scoring.is_free_text()),
                covered: spec.covered,
            },
            gold,
            document: self.document.unwrap_or_else(|| short(&hash)),
            stratum: spec.stratum.unwrap_or(self.stratum),
            context,
        })
    }
}

/// The centre of the gold span, if there is exactly one.
fn position(gold: &[Range<usize>], length: usize) -> Option<f64> {
    match gold {
        [one] => Some((one.start + one.end) as f64 / 2.0 / length.max(1) as f64),
        _ => None,
    }
}

/// The first half of a hash's digits, which is unique enough within one run.
fn short(hash: &blake3::Hash) -> String {
    let mut digits = hash.to_hex().to_string();
    digits.truncate(32);
    digits
}

/// A field that is one string in some files and a list in others.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

/// A field that is a number in some files and a string in others.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
enum Label {
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Label::Number(number) => write!(f, "{number}"),
            Label::Text(text) => f.write_str(text),
        }
    }
}

/// Reads a record as `T`; the reason names the field.
fn parse<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        // The record is always parsed as a single line.
        text.replace(" at line 1 column ", " at column ")
    })
}
