//! Why a task could not be read.

use std::{fmt, io};

use thiserror::Error;

use crate::exit::is_bad_path;

/// Bad rows or ids that a message names; the rest is counted.
const SHOWN: usize = 8;

/// A bad row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the file, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Why a task could not be read.
#[derive(Debug, Error)]
pub enum TaskError {
    /// The file cannot be read.
    #[error("{path}: {source}; a path is relative to the suite file")]
    Read {
        /// The path that was opened.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The compressed file is broken.
    #[error("{path} cannot be unpacked: {reason}")]
    Unpack {
        /// As the suite names it.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The file exceeds the size limit.
    #[error("{path} unpacks to more than {limit} bytes; split it")]
    TooLarge {
        /// As the suite names it.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// The file is not UTF-8.
    #[error("{path} is not UTF-8: the byte at offset {offset} (counted from 0) does not belong")]
    NotUtf8 {
        /// As the suite names it.
        path: String,
        /// The first invalid byte.
        offset: usize,
    },
    /// The file is not JSON as a whole.
    #[error("{path} line {line}: {reason}")]
    Json {
        /// As the suite names it.
        path: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The path is not a valid name of a file on the hub.
    #[error(
        "{path:?} names no file of a dataset; write hub:OWNER/DATASET/PATH or hub:OWNER/DATASET@REVISION/PATH"
    )]
    HubPath {
        /// As the suite names it.
        path: String,
    },
    /// The file could not be fetched from the hub.
    #[error("{path} could not be had from the hub: {reason}; to provide it by hand, put it at {by_hand}")]
    Hub {
        /// As the suite names it.
        path: String,
        /// Why not.
        reason: String,
        /// Where a file provided by hand is expected.
        by_hand: String,
    },
    /// Some rows are wrong.
    #[error("{path}: {}", list(problems))]
    Rows {
        /// As the suite names it.
        path: String,
        /// All bad rows, in the order of the file.
        problems: Vec<Problem>,
    },
    /// The suite asks for rows that are not there.
    #[error("{path} has no row with the id {}; correct `rows` of the task", names(ids))]
    UnknownRows {
        /// As the suite names it.
        path: String,
        /// All missing ids, sorted.
        ids: Vec<String>,
    },
    /// The file has no rows.
    #[error("{path} holds no row")]
    Empty {
        /// As the suite names it.
        path: String,
    },
}

impl TaskError {
    /// Whether the fault lies with the suite or its files, rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        match self {
            TaskError::Read { source, .. } => is_bad_path(source),
            TaskError::Hub { .. } => false,
            TaskError::Unpack { .. }
            | TaskError::TooLarge { .. }
            | TaskError::NotUtf8 { .. }
            | TaskError::Json { .. }
            | TaskError::HubPath { .. }
            | TaskError::Rows { .. }
            | TaskError::UnknownRows { .. }
            | TaskError::Empty { .. } => true,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

fn names(ids: &[String]) -> String {
    let shown: Vec<String> = ids.iter().take(SHOWN).map(|id| format!("{id:?}")).collect();
    let more = ids.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

fn list(problems: &[Problem]) -> String {
    let mut text = format!("{} bad row(s)", problems.len());
    for problem in problems.iter().take(SHOWN) {
        text.push_str(&format!("\n  - {problem}"));
    }
    if problems.len() > SHOWN {
        text.push_str(&format!("\n  - and {} more", problems.len() - SHOWN));
    }
    text
}
